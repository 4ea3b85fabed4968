{{/*
One of the three Deployments.  (dict "root" $ "component" "hub" "config" JSON "ports" [{name, port, protocol}]
"secrets" [projected volume sources] "state" volume source "sysctls" [...] "strategy" {...} "replicas" 1)
*/}}
{{- define "penstock.deployment" -}}
{{- $own := index .root.Values .component -}}
{{- $name := printf "%s-%s" (include "penstock.fullname" .root) .component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "penstock.labels" . | nindent 4 }}
spec:
  replicas: {{ int .replicas }}
  revisionHistoryLimit: 3
  strategy: {{- toYaml .strategy | nindent 4 }}
  selector:
    matchLabels: {{- include "penstock.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "penstock.labels" . | nindent 8 }}
        {{- with $own.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/config: {{ .config | sha256sum }}
        {{- with $own.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ int $own.terminationGracePeriodSeconds }}
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $own.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: {type: RuntimeDefault}
        {{- with .sysctls }}
        sysctls: {{- toYaml . | nindent 10 }}
        {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "penstock.image" . | quote }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: ["--config", "/etc/penstock/config/{{ .component }}.json"]
          {{- with $own.extraEnv }}
          env: {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            {{- range .ports }}
            - {name: {{ .name }}, containerPort: {{ int .port }}, protocol: {{ default "TCP" .protocol }}}
            {{- end }}
            - {name: management, containerPort: {{ include "penstock.managementPort" . }}, protocol: TCP}
          startupProbe:
            httpGet: {path: /healthz, port: management}
            periodSeconds: 2
            failureThreshold: 30
          livenessProbe:
            httpGet: {path: /healthz, port: management}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /readyz, port: management}
            periodSeconds: 3
            timeoutSeconds: 3
            failureThreshold: 2
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            runAsNonRoot: true
            capabilities: {drop: [ALL]}
          {{- with $own.resources }}
          resources: {{- toYaml . | nindent 12 }}
          {{- end }}
          volumeMounts:
            - {name: config, mountPath: /etc/penstock/config, readOnly: true}
            - {name: secrets, mountPath: /etc/penstock/secrets, readOnly: true}
            - {name: state, mountPath: /var/lib/penstock/{{ .component }}}
            - {name: tmp, mountPath: /tmp}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            {{- with $own.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: config
          configMap: {name: {{ $name }}}
        - name: secrets
          projected:
            # the group is fsGroup's: readable for the service and nobody else
            defaultMode: 0440
            sources: {{- toYaml .secrets | nindent 14 }}
        - name: state
          {{- toYaml .state | nindent 10 }}
        - name: tmp
          emptyDir: {sizeLimit: 16Mi}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with $own.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $own.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $own.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $own.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $own.topologySpreadConstraints }}
      topologySpreadConstraints: {{- toYaml . | nindent 8 }}
      {{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "penstock.labels" . | nindent 4 }}
data:
  {{ .component }}.json: |
    {{- .config | nindent 4 }}
---
{{- /* a Service of its own: the other one may be public */}}
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-management
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "penstock.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  selector: {{- include "penstock.selectorLabels" . | nindent 4 }}
  ports:
    - {name: management, port: {{ include "penstock.managementPort" . }}, targetPort: management, protocol: TCP}
{{- end -}}

{{/* The source of the management token, for penstock.deployment's "secrets". */}}
{{- define "penstock.tokenSource" -}}
secret:
  name: {{ include "penstock.managementSecret" .root }}
  items: [{key: {{ .component }}, path: management}]
{{- end -}}

{{/* What a Service that may be a load balancer adds to its spec. */}}
{{- define "penstock.balancer" -}}
{{- if and .externalTrafficPolicy (ne .type "ClusterIP") }}
externalTrafficPolicy: {{ .externalTrafficPolicy }}
{{- end }}
{{- if and .loadBalancerClass (eq .type "LoadBalancer") }}
loadBalancerClass: {{ .loadBalancerClass }}
{{- end }}
{{- end -}}

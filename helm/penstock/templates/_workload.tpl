{{/*
The Deployment or DaemonSet of one service, with its ConfigMap and the Service of its management API.
(dict "root" $ "component" "hub" "kind" "Deployment" "replicas" 1 or nothing "strategy" {...}
"config" JSON "ports" [{name, port, protocol}] "secrets" [projected volume sources] "state" volume source
"sysctls" [...] "mounts" [...] "volumes" [...])
*/}}
{{- define "penstock.workload" -}}
{{- $own := index .root.Values .component -}}
{{- $name := printf "%s-%s" (include "penstock.fullname" .root) .component -}}
{{- $onHost := eq .kind "DaemonSet" -}}
apiVersion: apps/v1
kind: {{ .kind }}
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "penstock.labels" . | nindent 4 }}
spec:
  {{- if hasKey . "replicas" }}
  replicas: {{ int .replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  {{ $onHost | ternary "updateStrategy" "strategy" }}: {{- toYaml .strategy | nindent 4 }}
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
      serviceAccountName: {{ include "penstock.serviceAccount" .root }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- if $onHost }}
      hostNetwork: true
      dnsPolicy: ClusterFirstWithHostNet
      {{- end }}
      terminationGracePeriodSeconds: {{ int $own.terminationGracePeriodSeconds }}
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $own.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      securityContext:
        {{- if $onHost }}
        # ports below 1024 of the node are root's, whatever the capabilities of another user
        runAsUser: 0
        runAsGroup: 0
        {{- else }}
        runAsNonRoot: true
        {{- with include "penstock.user" .root }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- end }}
        {{- with .root.Values.podSecurityContext.fsGroup }}
        fsGroup: {{ int64 . }}
        {{- end }}
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: {type: RuntimeDefault}
        {{- if and .sysctls (not $onHost) }}
        sysctls: {{- toYaml .sysctls | nindent 10 }}
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
            {{- if .root.Values.metrics.enabled }}
            - {name: metrics, containerPort: {{ include "penstock.metricsPort" . }}, protocol: TCP}
            {{- end }}
          startupProbe:
            httpGet: {{- include "penstock.probe" (dict "of" . "path" "/healthz") | nindent 14 }}
            periodSeconds: 2
            failureThreshold: 30
          livenessProbe:
            httpGet: {{- include "penstock.probe" (dict "of" . "path" "/healthz") | nindent 14 }}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {{- include "penstock.probe" (dict "of" . "path" "/readyz") | nindent 14 }}
            periodSeconds: 3
            timeoutSeconds: 3
            failureThreshold: 2
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            {{- if $onHost }}
            capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
            {{- else }}
            runAsNonRoot: true
            capabilities: {drop: [ALL]}
            {{- end }}
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
      {{- if not $onHost }}
      {{- $selector := dict "matchLabels" (include "penstock.selectorLabels" . | fromYaml) }}
      {{- range $i, $spread := $own.topologySpreadConstraints }}
      {{- if not $i }}
      topologySpreadConstraints:
      {{- end }}
        - {{ merge (dict) $spread (dict "labelSelector" $selector) | toYaml | indent 10 | trim }}
      {{- end }}
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
{{- if not $onHost }}
---
# A Service of its own: the other one may be public.
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
{{- end }}
{{- if .root.Values.metrics.enabled }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-metrics
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "penstock.labels" . | nindent 4 }}
    penstock/scrape: "true"
spec:
  type: ClusterIP
  clusterIP: None
  # one that is not ready is looked at too
  publishNotReadyAddresses: true
  selector: {{- include "penstock.selectorLabels" . | nindent 4 }}
  ports:
    - {name: metrics, port: {{ include "penstock.metricsPort" . }}, targetPort: metrics, protocol: TCP}
{{- end }}
{{- end -}}

{{/* Whom a pod runs as; what is null is left to the cluster. */}}
{{- define "penstock.user" -}}
{{- $user := dict -}}
{{- range $key := list "runAsUser" "runAsGroup" -}}
{{- with index $.Values.podSecurityContext $key -}}{{- $_ := set $user $key (int64 .) -}}{{- end -}}
{{- end -}}
{{- with $user -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{/* httpGet of a probe: (dict "of" the workload "path" "/healthz"). The kubelet has no certificate of its own to
   show: health is answered without one. */}}
{{- define "penstock.probe" -}}
path: {{ .path }}
port: management
{{- if .of.root.Values.secrets.managementTls.existingSecret }}
scheme: HTTPS
{{- end }}
{{- if eq .of.kind "DaemonSet" }}
host: 127.0.0.1
{{- end }}
{{- end -}}

{{/* The sources of what every service has in /etc/penstock/secrets, as a JSON list. */}}
{{- define "penstock.commonSecrets" -}}
{{- $token := dict "key" .component "path" "management" -}}
{{- $sources := list (dict "secret" (dict "name" (include "penstock.managementSecret" .root) "items" (list $token))) -}}
{{- with .root.Values.secrets.managementTls.existingSecret -}}
{{- $items := list (dict "key" "tls.crt" "path" "management-tls/tls.crt") (dict "key" "tls.key" "path" "management-tls/tls.key") -}}
{{- $sources = append $sources (dict "secret" (dict "name" . "items" $items)) -}}
{{- end -}}
{{- with .root.Values.secrets.managementClientCa.existingSecret -}}
{{- $sources = append $sources (include "penstock.secretSource" (dict "name" . "key" "ca.crt"
      "path" "management-client-ca.crt") | fromJson) -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}

{{/* One more of them: (dict "name" Secret "key" "ca.crt" "path" "hub-ca.crt"). */}}
{{- define "penstock.secretSource" -}}
{{- dict "secret" (dict "name" .name "items" (list (dict "key" .key "path" .path))) | toJson -}}
{{- end -}}

{{/*
A Service that may be public; two where a balancer takes one protocol only.
(dict "root" $ "component" "hub" "type" "LoadBalancer" "service" values
"ports" [{name, port, targetPort, protocol, nodePort}])
*/}}
{{- define "penstock.publicService" -}}
{{- $tcp := list -}}
{{- $udp := list -}}
{{- range .ports -}}
{{- if eq .protocol "UDP" -}}{{- $udp = append $udp . -}}{{- else -}}{{- $tcp = append $tcp . -}}{{- end -}}
{{- end -}}
{{- $isSplit := and (gt (len $udp) 0) (eq .type "LoadBalancer") (not .service.mixedProtocol) -}}
{{- include "penstock.oneService" (merge (dict "suffix" "" "also" dict "ports" ($isSplit | ternary $tcp .ports)) .) }}
{{- if $isSplit }}
---
{{ include "penstock.oneService" (merge (dict "suffix" "-udp" "also" .service.udpAnnotations "ports" $udp) .) }}
{{- end }}
{{- end -}}

{{- define "penstock.oneService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "penstock.fullname" .root }}-{{ .component }}{{ .suffix }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "penstock.labels" . | nindent 4 }}
  {{- with merge (dict) .also .service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ .type }}
  {{- if and .service.externalTrafficPolicy (ne .type "ClusterIP") }}
  externalTrafficPolicy: {{ .service.externalTrafficPolicy }}
  {{- end }}
  {{- if eq .type "LoadBalancer" }}
  {{- with .service.loadBalancerClass }}
  loadBalancerClass: {{ . }}
  {{- end }}
  {{- with .service.loadBalancerIP }}
  loadBalancerIP: {{ . | quote }}
  {{- end }}
  {{- with .service.loadBalancerSourceRanges }}
  loadBalancerSourceRanges: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with .service.ipFamilyPolicy }}
  ipFamilyPolicy: {{ . }}
  {{- end }}
  selector: {{- include "penstock.selectorLabels" . | nindent 4 }}
  ports:
    {{- $type := .type }}
    {{- range .ports }}
    - name: {{ .name }}
      port: {{ int .port }}
      targetPort: {{ .targetPort }}
      protocol: {{ .protocol }}
      {{- if and .nodePort (ne $type "ClusterIP") }}
      nodePort: {{ int .nodePort }}
      {{- end }}
    {{- end }}
{{- end -}}

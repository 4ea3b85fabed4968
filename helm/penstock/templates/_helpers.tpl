{{/* Names.  Services add "-management" (11 characters) to 63 at most, after the component. */}}
{{- define "penstock.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (dict "root" $ "component" "hub") -> labels that a selector may use */}}
{{- define "penstock.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "penstock.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "penstock.selectorLabels" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "penstock.image" -}}
{{- $own := (index .root.Values .component).image -}}
{{- $common := .root.Values.image -}}
{{- with $common.registry -}}{{ . }}/{{- end -}}
{{- $own.repository -}}
{{- if $own.digest -}}@{{ $own.digest }}{{- else -}}:{{ default .root.Chart.AppVersion $common.tag }}{{- end -}}
{{- end -}}

{{- define "penstock.managementPort" -}}
{{- index (dict "hub" 9001 "edge" 9002 "traffic" 9003) .component -}}
{{- end -}}

{{- define "penstock.metricsPort" -}}
{{- index (dict "hub" 9101 "edge" 9102 "traffic" 9103) .component -}}
{{- end -}}

{{- define "penstock.serviceAccount" -}}
{{- default (.Values.serviceAccount.create | ternary (include "penstock.fullname" .) "default") .Values.serviceAccount.name -}}
{{- end -}}

{{- define "penstock.edgesSecret" -}}
{{- default (printf "%s-edges" (include "penstock.fullname" .)) .Values.secrets.edges.existingSecret -}}
{{- end -}}

{{- define "penstock.managementSecret" -}}
{{- default (printf "%s-management" (include "penstock.fullname" .)) .Values.secrets.management.existingSecret -}}
{{- end -}}

{{- define "penstock.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "penstock.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "penstock.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ (index .root.Values .component).podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels: {{- include "penstock.selectorLabels" . | nindent 6 }}
{{- end -}}

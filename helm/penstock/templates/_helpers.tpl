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

{{- define "penstock.edgesSecret" -}}
{{- default (printf "%s-edges" (include "penstock.fullname" .)) .Values.secrets.edges.existingSecret -}}
{{- end -}}

{{- define "penstock.managementSecret" -}}
{{- default (printf "%s-management" (include "penstock.fullname" .)) .Values.secrets.management.existingSecret -}}
{{- end -}}

{{/* The edges of the hub's registry, as a JSON list: the chart's own first. */}}
{{- define "penstock.edges" -}}
{{- $edges := list -}}
{{- if .Values.edge.enabled -}}
{{- $edges = append $edges (dict "id" .Values.edge.id "listenPorts" .Values.edge.listenPorts
      "maxInstances" (add1 (int .Values.edge.replicaCount))) -}}
{{- end -}}
{{- $ids := list -}}
{{- range concat $edges .Values.hub.edges -}}
{{- if has .id $ids -}}{{- fail (printf "two edges are called %s" .id) -}}{{- end -}}
{{- $ids = append $ids .id -}}
{{- end -}}
{{- concat $edges .Values.hub.edges | toJson -}}
{{- end -}}

{{/* What all three have in their configuration file; nothing of it is secret. */}}
{{- define "penstock.commonConfig" -}}
{{- $service := printf "%s-%s-management" (include "penstock.fullname" .root) .component -}}
{{- $inNamespace := printf "%s.%s" $service .root.Release.Namespace -}}
{{- $own := index .root.Values .component -}}
management:
  listen: {{ printf "[::]:%s" (include "penstock.managementPort" .) | quote }}
  tokenFile: /etc/penstock/secrets/management
  hosts:
    - {{ $service }}
    - {{ $inNamespace }}
    - {{ $inNamespace }}.svc
    - {{ $inNamespace }}.svc.{{ .root.Values.clusterDomain }}
log: {format: json}
# while the endpoints of the Service are on their way out
drainDelaySecs: 5
workers: {{ int $own.workers }}
stateDir: /var/lib/penstock/{{ .component }}
{{- end -}}

{{- define "penstock.hubConfig" -}}
{{- $name := include "penstock.fullname" . -}}
{{- $host := .Values.hub.target.host -}}
{{- if not $host -}}
{{- if not .Values.traffic.enabled -}}{{- fail "hub.target.host is needed where traffic.enabled is false" -}}{{- end -}}
{{- $host = printf "%s-traffic" $name -}}
{{- end -}}
{{- $edges := list -}}
{{- range include "penstock.edges" . | fromJsonArray -}}
{{- $edges = append $edges (merge (dict "secretFile" (printf "/etc/penstock/secrets/edges/%s" .id)) .) -}}
{{- end -}}
{{- $config := include "penstock.commonConfig" (dict "root" . "component" "hub") | fromYaml -}}
{{- $ports := dict "80" (int .Values.traffic.service.httpPort) "443" (int .Values.traffic.service.httpsPort) -}}
{{- $_ := set $config "target" (dict "host" $host "ports" $ports) -}}
{{- $_ := set $config "edges" $edges -}}
{{- mergeOverwrite $config (deepCopy .Values.hub.config) | toPrettyJson -}}
{{- end -}}

{{- define "penstock.edgeConfig" -}}
{{- $config := include "penstock.commonConfig" (dict "root" . "component" "edge") | fromYaml -}}
{{- $_ := set $config "edgeId" .Values.edge.id -}}
{{- $_ := set $config "secretFile" "/etc/penstock/secrets/edge" -}}
{{- if .Values.hub.enabled -}}
{{- $_ := set $config "hubHost" (printf "%s-hub" (include "penstock.fullname" .)) -}}
{{- $_ := set $config "hubPort" (int .Values.hub.service.port) -}}
{{- else -}}
{{- if not .Values.secrets.edges.existingSecret -}}{{- fail "secrets.edges.existingSecret is needed where hub.enabled is false: the hub knows the edge's secret" -}}{{- end -}}
{{- $_ := set $config "hubHost" (required "edge.hub.host is needed where hub.enabled is false" .Values.edge.hub.host) -}}
{{- $_ := set $config "hubPort" (int .Values.edge.hub.port) -}}
{{- with .Values.edge.hub.pin -}}{{- $_ := set $config "pin" . -}}{{- end -}}
{{- end -}}
{{- mergeOverwrite $config (deepCopy .Values.edge.config) | toPrettyJson -}}
{{- end -}}

{{- define "penstock.trafficConfig" -}}
{{- $config := include "penstock.commonConfig" (dict "root" . "component" "traffic") | fromYaml -}}
{{- $trusted := .Values.traffic.trusted -}}
{{- if .Values.hub.enabled -}}
{{- $trusted = prepend $trusted (printf "%s-hub-pods" (include "penstock.fullname" .)) -}}
{{- end -}}
{{- $_ := set $config "proxyProtocol" (dict "trusted" $trusted) -}}
{{- if .Values.traffic.routes.existingSecret -}}
{{- $_ := set $config "routesFile" "/etc/penstock/routes/routes.json" -}}
{{- end -}}
{{- with .Values.traffic.coreflow.url -}}
{{- $_ := set $config "coreflow" (dict "url" .) -}}
{{- end -}}
{{- mergeOverwrite $config (deepCopy .Values.traffic.config) | toPrettyJson -}}
{{- end -}}

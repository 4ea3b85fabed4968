{{/* The configuration files.  What all three have; nothing of it is secret. */}}
{{- define "penstock.commonConfig" -}}
{{- $service := printf "%s-%s-management" (include "penstock.fullname" .root) .component -}}
{{- $inNamespace := printf "%s.%s" $service .root.Release.Namespace -}}
{{- $own := index .root.Values .component -}}
{{- $isOnHost := and (eq .component "edge") (eq .root.Values.edge.kind "DaemonSet") -}}
management:
  # on the node's network for the node alone
  listen: {{ printf "%s:%s" ($isOnHost | ternary "127.0.0.1" "[::]") (include "penstock.managementPort" .) | quote }}
  tokenFile: /etc/penstock/secrets/management
  {{- if .root.Values.secrets.managementTls.existingSecret }}
  certFile: /etc/penstock/secrets/management-tls/tls.crt
  keyFile: /etc/penstock/secrets/management-tls/tls.key
  {{- end }}
  {{- if .root.Values.secrets.managementClientCa.existingSecret }}
  clientCaFile: /etc/penstock/secrets/management-client-ca.crt
  {{- end }}
  hosts:
    - {{ $service }}
    - {{ $inNamespace }}
    - {{ $inNamespace }}.svc
    - {{ $inNamespace }}.svc.{{ .root.Values.clusterDomain }}
{{- if .root.Values.metrics.enabled }}
metrics: {listen: "[::]:{{ include "penstock.metricsPort" . }}"}
{{- end }}
log: {format: json}
# while the endpoints of the Service are on their way out
drainDelaySecs: 5
workers: {{ int $own.workers }}
stateDir: /var/lib/penstock/{{ .component }}
{{- end -}}

{{/* The edges of the hub's registry, as a JSON list: the chart's own first. */}}
{{- define "penstock.edges" -}}
{{- $edges := list -}}
{{- with .Values.edge -}}
{{- if .enabled -}}
{{- $most := eq .kind "DaemonSet" | ternary 64 (min 64 (add1 (int .replicaCount))) -}}
{{- $own := dict "id" .id "listenPorts" .listenPorts "maxInstances" (int .maxInstances | default (int $most)) -}}
{{- with .listenPortsUdp -}}{{- $_ := set $own "listenPortsUdp" . -}}{{- end -}}
{{- $edges = append $edges $own -}}
{{- end -}}
{{- end -}}
{{- concat $edges .Values.hub.edges | toJson -}}
{{- end -}}

{{/* What connection tokens name, since edges dial the Service and not the pod; nothing where the cluster chooses
   the node's port. */}}
{{- define "penstock.publicPort" -}}
{{- with .Values.hub.service -}}
{{- if ne .type "NodePort" -}}{{- int .port -}}
{{- else if .nodePort -}}{{- int .nodePort -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "penstock.hubConfig" -}}
{{- $values := .Values.hub -}}
{{- $host := default (printf "%s-traffic" (include "penstock.fullname" .)) $values.target.host -}}
{{- $edges := list -}}
{{- range include "penstock.edges" . | fromJsonArray -}}
{{- $edges = append $edges (merge (dict "secretFile" (printf "/etc/penstock/secrets/edges/%s" .id)) .) -}}
{{- end -}}
{{- $config := include "penstock.commonConfig" (dict "root" . "component" "hub") | fromYaml -}}
{{- $ports := dict "80" (int .Values.traffic.service.httpPort) "443" (int .Values.traffic.service.httpsPort) -}}
{{- $_ := set $config "target" (dict "host" $host "ports" $ports) -}}
{{- $_ := set $config "edges" $edges -}}
{{- $tunnel := dict -}}
{{- with include "penstock.publicPort" . -}}{{- $_ := set $tunnel "publicPort" (int .) -}}{{- end -}}
{{- if $values.tls.existingSecret -}}
{{- $_ := set $tunnel "certFile" "/etc/penstock/secrets/tunnel-tls/tls.crt" -}}
{{- $_ := set $tunnel "keyFile" "/etc/penstock/secrets/tunnel-tls/tls.key" -}}
{{- end -}}
{{- if not $values.service.quic -}}{{- $_ := set $tunnel "transports" (list "tls") -}}{{- end -}}
{{- with $tunnel -}}{{- $_ := set $config "tunnel" . -}}{{- end -}}
{{- if $values.storeKey.existingSecret -}}
{{- $_ := set $config "store" (dict "keyFile" "/etc/penstock/secrets/store.key") -}}
{{- end -}}
{{- mergeOverwrite $config (deepCopy $values.config) | toPrettyJson -}}
{{- end -}}

{{/* host and port where an edge of this release dials its hub: where the Service is split by protocol, its
   name has one of them only, so the pods are dialled. */}}
{{- define "penstock.ownHub" -}}
{{- $name := include "penstock.fullname" . -}}
{{- $service := .Values.hub.service -}}
{{- if and (eq $service.type "LoadBalancer") $service.quic (not $service.mixedProtocol) -}}
{{- dict "host" (printf "%s-hub-pods" $name) "port" 8443 | toJson -}}
{{- else -}}
{{- dict "host" (printf "%s-hub" $name) "port" (int $service.port) | toJson -}}
{{- end -}}
{{- end -}}

{{- define "penstock.edgeConfig" -}}
{{- $values := .Values.edge -}}
{{- $config := include "penstock.commonConfig" (dict "root" . "component" "edge") | fromYaml -}}
{{- if $values.token.existingSecret -}}
{{- $_ := set $config "tokenFile" "/etc/penstock/secrets/token" -}}
{{- else -}}
{{- $hub := $values.hub -}}
{{- if .Values.hub.enabled -}}{{- $hub = include "penstock.ownHub" . | fromJson -}}{{- end -}}
{{- $_ := set $config "edgeId" $values.id -}}
{{- $_ := set $config "secretFile" "/etc/penstock/secrets/edge" -}}
{{- $_ := set $config "hubHost" $hub.host -}}
{{- $_ := set $config "hubPort" (int $hub.port) -}}
{{- with $hub.pin -}}{{- $_ := set $config "pin" . -}}{{- end -}}
{{- if and $hub.ca $hub.ca.existingSecret -}}
{{- $_ := set $config "caFile" "/etc/penstock/secrets/hub-ca.crt" -}}
{{- end -}}
{{- end -}}
{{- mergeOverwrite $config (deepCopy $values.config) | toPrettyJson -}}
{{- end -}}

{{- define "penstock.trafficConfig" -}}
{{- $values := .Values.traffic -}}
{{- $config := include "penstock.commonConfig" (dict "root" . "component" "traffic") | fromYaml -}}
{{- $trusted := $values.trusted -}}
{{- if .Values.hub.enabled -}}
{{- $trusted = prepend $trusted (printf "%s-hub-pods" (include "penstock.fullname" .)) -}}
{{- end -}}
{{- $_ := set $config "proxyProtocol" (dict "trusted" $trusted) -}}
{{- if $values.routes.existingSecret -}}
{{- $_ := set $config "routesFile" "/etc/penstock/routes/routes.json" -}}
{{- $_ := set $config "routesFileSecs" 5 -}}
{{- end -}}
{{- $coreflow := dict -}}
{{- with $values.coreflow.url -}}{{- $_ := set $coreflow "url" . -}}{{- end -}}
{{- if $values.coreflow.ca.existingSecret -}}{{- $_ := set $coreflow "caFile" "/etc/penstock/secrets/coreflow-ca.crt" -}}{{- end -}}
{{- with $coreflow -}}{{- $_ := set $config "coreflow" . -}}{{- end -}}
{{- mergeOverwrite $config (deepCopy $values.config) | toPrettyJson -}}
{{- end -}}

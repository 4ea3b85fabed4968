{{/* What the schema cannot say: values that do not fit together, each with what to do about it. */}}
{{- define "penstock.checks" -}}
{{- $values := .Values -}}
{{- $hub := .Values.hub -}}
{{- $edge := .Values.edge -}}
{{- $traffic := .Values.traffic -}}
{{- if not (or $hub.enabled $edge.enabled $traffic.enabled) -}}
{{- fail "nothing is enabled: set hub.enabled, edge.enabled or traffic.enabled" -}}
{{- end -}}

{{- if $hub.enabled -}}
{{- if not (or $traffic.enabled $hub.target.host) -}}{{- fail "hub.target.host is needed where traffic.enabled is false" -}}{{- end -}}
{{- $ids := list -}}
{{- range include "penstock.edges" . | fromJsonArray -}}
{{- if has .id $ids -}}{{- fail (printf "two edges are called %s: edge.id and the ids in hub.edges must differ" .id) -}}{{- end -}}
{{- $ids = append $ids .id -}}
{{- range .listenPortsUdp -}}
{{- $known := dig "target" "portsUdp" dict $hub.config -}}
{{- if and (not $hub.target.host) (not (hasKey $known (int . | toString))) -}}
{{- fail (printf "UDP port %d leads nowhere: traffic takes no datagrams; name its server in hub.config.target.portsUdp" (int .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if $edge.enabled -}}
{{- if not (or $hub.enabled $edge.token.existingSecret) -}}
{{- if not $values.secrets.edges.existingSecret -}}
{{- fail "secrets.edges.existingSecret is needed where hub.enabled is false (the hub knows the edge's secret), or edge.token.existingSecret" -}}
{{- end -}}
{{- if not $edge.hub.host -}}{{- fail "edge.hub.host is needed where hub.enabled is false" -}}{{- end -}}
{{- end -}}
{{- if and $hub.enabled $edge.token.existingSecret -}}
{{- fail "edge.token.existingSecret is for an edge whose hub is elsewhere: set hub.enabled to false" -}}
{{- end -}}
{{- if and (eq $edge.kind "DaemonSet") (not (has $edge.service.type (list "" "ClusterIP"))) -}}
{{- fail "edge.service.type: a DaemonSet has the nodes' addresses; leave it empty" -}}
{{- end -}}
{{- end -}}

{{- if $traffic.enabled -}}
{{- $several := or (gt (int $traffic.replicaCount) 1) $traffic.autoscaling.enabled -}}
{{- if and $several (not (or $traffic.coreflow.url $traffic.routes.existingSecret (dig "coreflow" "url" "" $traffic.config))) -}}
{{- fail "several replicas of traffic share no routes: set traffic.coreflow.url or traffic.routes.existingSecret, or traffic.replicaCount to 1" -}}
{{- end -}}
{{- with $traffic.autoscaling -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}{{- fail "traffic.autoscaling: minReplicas is above maxReplicas" -}}{{- end -}}
{{- if and .enabled (not (or .targetCPUUtilizationPercentage .targetMemoryUtilizationPercentage)) -}}
{{- fail "traffic.autoscaling: both targets are 0, so nothing would be looked at" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and $values.secrets.managementClientCa.existingSecret (not $values.secrets.managementTls.existingSecret) -}}
{{- fail "secrets.managementClientCa.existingSecret needs secrets.managementTls.existingSecret: without HTTPS nobody can show a certificate" -}}
{{- end -}}

{{- if and (not .Values.metrics.enabled) .Values.metrics.serviceMonitor.enabled -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.enabled" -}}
{{- end -}}
{{- if and (not .Values.metrics.enabled) .Values.metrics.prometheusRule.enabled -}}
{{- fail "metrics.prometheusRule.enabled needs metrics.enabled: its alerts would have nothing to look at" -}}
{{- end -}}
{{- end -}}

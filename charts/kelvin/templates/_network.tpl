{{/* Head of a NetworkPolicy: (list $ name component). */}}
{{- define "kelvin.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
{{ include "kelvin.metadata" (dict "root" (index . 0) "name" (index . 1) "component" (index . 2) "annotations" (index . 0).Values.networkPolicy.annotations) }}
{{- end -}}

{{/* Labels of all pods. */}}
{{- define "kelvin.selector.all" -}}
{{- omit (include "kelvin.selector" (list . "") | fromYaml) "app.kubernetes.io/component" | toYaml -}}
{{- end -}}

{{/* TCP ports of a rule. */}}
{{- define "kelvin.ports" -}}
{{- range . }}
- {protocol: TCP, port: {{ . }}}
{{- end -}}
{{- end -}}

{{/* Port of the OTLP endpoint: as set, or of its URL. */}}
{{- define "kelvin.ports.collector" -}}
{{- $endpoint := .Values.telemetry.endpoint -}}
{{- $own := regexFind ":[0-9]+$" (regexFind "^https?://[^/]+" $endpoint) | trimPrefix ":" -}}
{{- coalesce .Values.networkPolicy.collectorPort $own (hasPrefix "https:" $endpoint | ternary 443 80) | int -}}
{{- end -}}

{{/* Ports of the store: as set, or of its addresses. */}}
{{- define "kelvin.ports.valkey" -}}
{{- $ports := default list .Values.networkPolicy.valkeyPorts -}}
{{- if not $ports -}}
{{- range splitList "," .Values.store.valkey.address }}{{ $ports = append $ports (regexFind "[0-9]+$" . | int) }}{{ end -}}
{{- end -}}
{{- include "kelvin.ports" (uniq $ports) -}}
{{- end -}}

{{/* Components of the release that call the servers. */}}
{{- define "kelvin.components.calling" -}}
{{- if include "kelvin.clients" . }}
- client
{{- end }}
{{- if .Values.test.enabled }}
- check
{{- end }}
{{- end -}}

{{/* Peers that may call the servers. */}}
{{- define "kelvin.callers" -}}
{{- $peers := list -}}
{{- range include "kelvin.components.calling" . | fromYamlArray -}}
{{- $peers = append $peers (dict "podSelector" (dict "matchLabels" (include "kelvin.selector" (list $ .) | fromYaml))) -}}
{{- end -}}
{{- $peers = concat $peers (default list .Values.networkPolicy.from) -}}
{{- range list .Values.server.grpcRoute .Values.server.tlsRoute -}}
{{- if .enabled }}{{ $peers = concat $peers (default list .from) }}{{ end -}}
{{- end -}}
{{- with .Values.server.externalService -}}
{{- if and .enabled .from -}}
{{- $peers = concat $peers .from -}}
{{- else if .enabled -}}
{{- /* Only Local leaves the caller's address on the packet; with Cluster it is some node's. */ -}}
{{- $ranges := list "0.0.0.0/0" "::/0" -}}
{{- if and (eq .externalTrafficPolicy "Local") .loadBalancerSourceRanges }}{{ $ranges = .loadBalancerSourceRanges }}{{ end -}}
{{- range $ranges }}{{ $peers = append $peers (dict "ipBlock" (dict "cidr" .)) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- uniq $peers | toYaml -}}
{{- end -}}

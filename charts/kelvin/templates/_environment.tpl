{{/*
Variables of a container; takes the dict of kelvin.pod. Kubernetes refuses a name that occurs twice, so a variable of extraEnv
replaces the chart's. Those of extraEnv come last and in their order, because they may refer to one another, except where they
replace what the others refer to.
*/}}
{{- define "kelvin.environment" -}}
{{- include "kelvin.unique" (list (printf "%s.extraEnv" .name) "name" list .values.extraEnv) -}}
{{- $own := dict -}}
{{- range .values.extraEnv }}{{ $_ := set $own .name . }}{{ end -}}
{{- $variables := list -}}
{{- range include "kelvin.environment.identity" . | fromYamlArray -}}
{{- $variables = append $variables (get $own .name | default .) -}}
{{- $own = omit $own .name -}}
{{- end -}}
{{- range concat (include "kelvin.environment.settings" . | fromYamlArray) (include "kelvin.environment.telemetry" . | fromYamlArray) -}}
{{- if not (hasKey $own .name) }}{{ $variables = append $variables . }}{{ end -}}
{{- end -}}
{{- range .values.extraEnv -}}
{{- if hasKey $own .name }}{{ $variables = append $variables . }}{{ end -}}
{{- end -}}
{{- toYaml $variables -}}
{{- end -}}

{{/* What others refer to as $(NAME): Kubernetes replaces only what was defined before. */}}
{{- define "kelvin.environment.identity" -}}
{{- range $name, $field := dict "HOST_IP" "status.hostIP" "NODE_NAME" "spec.nodeName" "POD_NAME" "metadata.name" "POD_UID" "metadata.uid" }}
- name: {{ $name }}
  valueFrom: {fieldRef: {fieldPath: {{ $field }}}}
{{- end -}}
{{- end -}}

{{- define "kelvin.environment.settings" -}}
{{- $settings := deepCopy .settings -}}
{{- range $key, $value := .values.settings -}}
{{- /* DRAIN_WAIT is the former name of DRAIN_DELAY. */ -}}
{{- if hasKey $settings (eq $key "DRAIN_WAIT" | ternary "DRAIN_DELAY" $key) -}}
{{- fail (printf "%s.settings.%s: the chart sets KELVIN_%s from other values; see docs/configuration.md for which" $.name $key $key) -}}
{{- end -}}
{{- $_ := set $settings $key $value -}}
{{- end -}}
- name: RUST_LOG
  value: {{ .root.Values.telemetry.log | default "info" | quote }}
{{- range $key, $value := $settings }}
- name: KELVIN_{{ $key }}
  {{- /* A number of values.yaml is a float64, and a large one would become 5e+06. */}}
  value: {{ if kindIs "float64" $value }}{{ toJson $value | quote }}{{ else }}{{ toString $value | quote }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "kelvin.environment.telemetry" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- with .root.Values.telemetry -}}
{{- if .endpoint -}}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .protocol }}
{{- if .caSecret }}
- name: OTEL_EXPORTER_OTLP_CERTIFICATE
  value: /etc/kelvin/otlp/ca.crt
{{- end }}
{{- if .headersSecret.name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ .headersSecret.name | quote }}, key: {{ .headersSecret.key | quote }}}}
{{- else if .headers }}
{{- $headers := list }}
{{- range $name, $value := .headers }}
{{- $headers = append $headers (printf "%s=%s" $name (urlquery $value | replace "+" "%20")) }}
{{- end }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  value: {{ join "," $headers | quote }}
{{- end }}
- name: OTEL_METRIC_EXPORT_INTERVAL
  value: {{ mul .metricIntervalSeconds 1000 | toString | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ toString .traceRatio | quote }}
- name: OTEL_SERVICE_NAME
  value: {{ $.service | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ list
      (printf "service.namespace=%s" $namespace)
      (printf "service.instance.id=%s.$(POD_NAME).%s" $namespace $.name)
      (printf "k8s.namespace.name=%s" $namespace)
      (printf "k8s.container.name=%s" $.name)
      "k8s.pod.name=$(POD_NAME)" "k8s.pod.uid=$(POD_UID)" "k8s.node.name=$(NODE_NAME)" | join "," }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether there are to be alerts. With "auto" the cluster must have their CRD; NOTES.txt says so if it does not. */}}
{{- define "kelvin.alerts" -}}
{{- if ne (toString .Values.alerts.enabled) "auto" -}}
{{- if .Values.alerts.enabled }}true{{ end -}}
{{- else if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PrometheusRule" }}true{{ end -}}
{{- end -}}

{{/* Whether there are to be alerts on metrics that the release's own pods export. */}}
{{- define "kelvin.alerts.own" -}}
{{- if and (include "kelvin.alerts" .) (or .Values.telemetry.endpoint .Values.podMonitor.enabled) }}true{{ end }}
{{- end -}}

{{/* Head of a PrometheusRule: (list $ "server"). */}}
{{- define "kelvin.rule" -}}
{{- $root := index . 0 -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
{{ include "kelvin.metadata" (dict
      "root" $root
      "name" (printf "%s-%s" (include "kelvin.fullname" $root) (index . 1))
      "component" "alerts"
      "labels" $root.Values.alerts.labels
      "annotations" $root.Values.alerts.annotations) }}
{{- end -}}

{{/* Labels of an alert: (list $ "critical"), with a dict of further ones as a third element. */}}
{{- define "kelvin.alert.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict "severity" (index . 1) "namespace" $root.Release.Namespace -}}
{{- if gt (len .) 2 }}{{ $own = merge $own (index . 2) }}{{ end -}}
{{- mergeOverwrite $own (default dict $root.Values.alerts.additionalLabels) | toJson -}}
{{- end -}}

{{/* Where an alert leads: (list $ "KelvinServerDown" "kelvin-overview"). */}}
{{- define "kelvin.alert.links" -}}
{{- $alerts := (index . 0).Values.alerts -}}
{{- with $alerts.runbookUrl }}
runbook_url: {{ . }}#{{ index $ 1 | lower }}
{{- end }}
{{- with $alerts.grafanaUrl }}
dashboard_url: {{ . | trimSuffix "/" }}/d/{{ index $ 2 }}?var-namespace={{ (index $ 0).Release.Namespace }}
{{- end }}
{{- end -}}

{{/* `job` of a program's metrics: (list $ "server"). */}}
{{- define "kelvin.job" -}}
{{ (index . 0).Release.Namespace }}/{{ include "kelvin.fullname" (index . 0) }}-{{ index . 1 }}
{{- end -}}

{{/* Whether a counter, which begins at 0, grew within 15 minutes: (list "job, file" counter). */}}
{{- define "kelvin.grew" -}}
sum by ({{ index . 0 }}) (increase({{ index . 1 }}[15m])) > 0
{{- end -}}

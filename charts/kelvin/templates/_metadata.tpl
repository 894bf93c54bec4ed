{{/*
Metadata of an object, from a dict:
  root         $
  name         its name
  component    what it belongs to, as a label
  kind         the call type, as a label, for a client
  labels       further labels
  annotations  further annotations
  namespace    if it is not the release's
*/}}
{{- define "kelvin.metadata" -}}
metadata:
  name: {{ .name | quote }}
  namespace: {{ default .root.Release.Namespace .namespace | quote }}
  labels:
    {{- include "kelvin.labels" . | nindent 4 }}
  {{- with mergeOverwrite dict (default dict .root.Values.commonAnnotations) (default dict .annotations) }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Labels that select the pods of a component: (list $ "server"). */}}
{{- define "kelvin.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "kelvin.labels" -}}
{{- $standard := dict
      "app.kubernetes.io/part-of" "kelvin"
      "app.kubernetes.io/version" .root.Chart.AppVersion
      "app.kubernetes.io/managed-by" .root.Release.Service
      "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- mergeOverwrite $standard (include "kelvin.podLabels" . | fromYaml) (default dict .labels) | toYaml -}}
{{- end -}}

{{/* Labels without a version, which would restart the pods with each new chart. */}}
{{- define "kelvin.podLabels" -}}
{{- $labels := mergeOverwrite (dict "app.kubernetes.io/part-of" "kelvin") (default dict .root.Values.commonLabels) (default dict .labels) -}}
{{- $labels = mergeOverwrite $labels (include "kelvin.selector" (list .root .component) | fromYaml) -}}
{{- with .kind }}{{ $_ := set $labels "kelvin/rpc" . }}{{ end -}}
{{- toYaml $labels -}}
{{- end -}}

{{/*
The pod of the server, of a client or of the test, from a dict:
  root        $
  name        of the container's program: server or client
  component   label of the pod; with `kind`, a further label, for the kind of client
  service     name in telemetry
  settings    KELVIN_ variables, without the prefix
  secrets     Secrets that are mounted, by the folder in /etc/kelvin
  values      what values.yaml says of such pods
  args        arguments of the program
  grace       seconds between SIGTERM and SIGKILL
A pod with args is a task: it has no probes and is not restarted.
*/}}
{{- define "kelvin.pod" -}}
{{- $root := .root -}}
{{- include "kelvin.unique" (list (printf "%s.extraVolumes" .name) "name" (keys .secrets) .values.extraVolumes) -}}
{{- include "kelvin.unique" (list (printf "%s.sidecars and initContainers" .name) "name" (list .name) (concat (default list .values.sidecars) (default list .values.initContainers))) -}}
metadata:
  labels:
    {{- include "kelvin.podLabels" (merge (dict "labels" .values.podLabels) .) | nindent 4 }}
  {{- with mergeOverwrite dict (default dict $root.Values.commonAnnotations) (default dict .values.podAnnotations) }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "kelvin.serviceAccount" $root | quote }}
  automountServiceAccountToken: false
  # A Service called kelvin would put KELVIN_...PORT=tcp://... among the settings.
  enableServiceLinks: false
  {{- if .args }}
  restartPolicy: Never
  {{- end }}
  {{- with .grace }}
  terminationGracePeriodSeconds: {{ . }}
  {{- end }}
  {{- range $field := list "affinity" "dnsConfig" "dnsPolicy" "hostAliases" "initContainers" "nodeSelector" "priorityClassName" "runtimeClassName" "tolerations" "topologySpreadConstraints" }}
  {{- with index $.values $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- if not (or .args .values.topologySpreadConstraints) }}
  topologySpreadConstraints:
    - topologyKey: kubernetes.io/hostname
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      matchLabelKeys: [pod-template-hash]
      labelSelector:
        matchLabels:
          {{- include "kelvin.selector" (list $root .component) | nindent 10 }}
  {{- end }}
  {{- with include "kelvin.pullSecrets" $root }}
  imagePullSecrets:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    {{- include "kelvin.container" . | nindent 4 }}
    {{- with .values.sidecars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- range $folder, $secret := .secrets }}
    - name: {{ $folder }}
      secret:
        {{- toYaml $secret | nindent 8 }}
        {{- /* Without a group for the files they belong to root. */}}
        defaultMode: {{ kindIs "invalid" (default dict $root.Values.podSecurityContext).fsGroup | ternary "0444" "0440" }}
    {{- end }}
    {{- with .values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Fails if a field has the same value twice: (list "what" "field" values-taken objects). The API server would refuse that. */}}
{{- define "kelvin.unique" -}}
{{- $what := index . 0 -}}
{{- $field := index . 1 -}}
{{- $taken := index . 2 -}}
{{- range index . 3 -}}
{{- $value := get . $field | toString | trimSuffix "/" -}}
{{- if has $value $taken -}}
{{- fail (printf "%s: the %s %s is used twice, or is reserved by the chart: rename or remove it" $what $field $value) -}}
{{- end -}}
{{- $taken = append $taken $value -}}
{{- end -}}
{{- end -}}

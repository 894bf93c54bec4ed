{{/* The container of a program; takes the dict of kelvin.pod. */}}
{{- define "kelvin.container" -}}
{{- $mounts := list -}}
{{- range $folder, $_ := .secrets }}{{ $mounts = append $mounts (printf "/etc/kelvin/%s" $folder) }}{{ end -}}
{{- include "kelvin.unique" (list (printf "%s.extraVolumeMounts" .name) "mountPath" $mounts .values.extraVolumeMounts) -}}
- name: {{ .name }}
  image: {{ include "kelvin.image" . | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  {{- with .args }}
  args: {{ toJson . }}
  {{- end }}
  {{- with .values.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  env:
    {{- include "kelvin.environment" . | nindent 4 }}
  {{- if not .args }}
  ports:
    {{- if eq .name "server" }}
    - {name: grpc, containerPort: {{ .root.Values.server.port }}}
    {{- end }}
    - {name: health, containerPort: 8081}
  # Plain HTTP on a port of its own: the kubelet's gRPC probes do not support TLS.
  {{- range $probe, $path := dict "startupProbe" "/livez" "livenessProbe" "/livez" "readinessProbe" "/readyz" }}
  {{- $timing := index $.values $probe }}
  {{- if kindIs "map" $timing }}
  {{ $probe }}:
    httpGet: {path: {{ $path }}, port: health}
    {{- with $timing }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with .values.lifecycle }}
  lifecycle:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    {{- range $folder, $_ := .secrets }}
    - {name: {{ $folder }}, mountPath: /etc/kelvin/{{ $folder }}, readOnly: true}
    {{- end }}
    {{- with .values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

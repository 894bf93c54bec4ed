{{/* The container of a program; takes the dict of kelvin.pod. */}}
{{- define "kelvin.container" -}}
{{- $mounts := list -}}
{{- range $folder, $_ := .secrets }}{{ $mounts = append $mounts (printf "/etc/kelvin/%s" $folder) }}{{ end -}}
{{- include "kelvin.unique" (list (printf "%s.extraVolumeMounts" .name) "mountPath" $mounts .values.extraVolumeMounts) -}}
- name: {{ .name }}
  image: {{ include "kelvin.image" . }}
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
  startupProbe:
    httpGet: {path: /livez, port: health}
    initialDelaySeconds: 2 # an immediate probe would fail and leave a warning event
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /livez, port: health}
    periodSeconds: 10
    timeoutSeconds: 3
  readinessProbe:
    httpGet: {path: /readyz, port: health}
    {{- if eq .name "client" }}
    initialDelaySeconds: 5 # after an installation the client starts before the server
    {{- end }}
    periodSeconds: 3
    timeoutSeconds: 2
    failureThreshold: 2
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

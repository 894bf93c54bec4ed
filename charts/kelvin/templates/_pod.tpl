{{/*
The pod of the server, of a client or of the test, from a dict:
  root        $
  name        of the container's program: server or client
  component   label of the pod; with `kind`, a further label, for the kind of client
  service     name in telemetry and, with -tls, of the certificate's Secret
  settings    KELVIN_ variables, without the prefix
  values      what values.yaml says of such pods
  args        arguments of the program
  grace       seconds between SIGTERM and SIGKILL
  secrets     further Secrets, by the folder in /etc/kelvin
A pod with args is a task: it has no probes and is not started again.
*/}}
{{- define "kelvin.pod" -}}
{{- $root := .root }}
{{- $values := $root.Values -}}
metadata:
  labels:
    {{- include "kelvin.selector" (list $root .component) | nindent 4 }}
    app.kubernetes.io/part-of: kelvin
    {{- with .kind }}
    kelvin/rpc: {{ . }}
    {{- end }}
    {{- with .values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "kelvin.fullname" $root }}
  automountServiceAccountToken: false
  # A Service called kelvin would put KELVIN_...PORT=tcp://... among the settings.
  enableServiceLinks: false
  {{- if .args }}
  restartPolicy: Never
  {{- end }}
  {{- with .grace }}
  terminationGracePeriodSeconds: {{ . }}
  {{- end }}
  {{- with .values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- range $field := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
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
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: {{ .name }}
      image: {{ include "kelvin.image" . }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      {{- with .args }}
      args: {{ toJson . }}
      {{- end }}
      env:
        {{- include "kelvin.environment" . | nindent 8 }}
      {{- if not .args }}
      ports:
        {{- if eq .name "server" }}
        - {name: grpc, containerPort: {{ $values.server.port }}}
        {{- end }}
        - {name: health, containerPort: 8081}
      # Plain HTTP on a port of its own: the kubelet's gRPC probes do not speak TLS.
      startupProbe:
        httpGet: {path: /livez, port: health}
        initialDelaySeconds: 2 # asked at once it would fail, and Kubernetes would warn of it
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /livez, port: health}
        periodSeconds: 10
        timeoutSeconds: 3
      readinessProbe:
        httpGet: {path: /readyz, port: health}
        {{- if eq .name "client" }}
        initialDelaySeconds: 5 # after an installation it is there before the server
        {{- end }}
        periodSeconds: 3
        timeoutSeconds: 2
        failureThreshold: 2
      {{- end }}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        {{- range $folder, $secret := include "kelvin.secrets" . | fromYaml }}
        - {name: {{ $folder }}, mountPath: /etc/kelvin/{{ $folder }}, readOnly: true}
        {{- end }}
  volumes:
    {{- range $folder, $secret := include "kelvin.secrets" . | fromYaml }}
    - name: {{ $folder }}
      secret: {secretName: {{ $secret }}, defaultMode: 0440}
    {{- end }}
{{- end -}}

{{- define "kelvin.image" -}}
{{- $image := .root.Values.image -}}
{{- $repository := (index .root.Values .name).image.repository -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $repository }}:{{ default .root.Chart.AppVersion $image.tag }}
{{- end -}}

{{/* Folders in /etc/kelvin and the Secrets that are mounted there. */}}
{{- define "kelvin.secrets" -}}
tokens: {{ include "kelvin.tokens" .root }}
{{- with .root.Values.tls }}
{{- if .enabled }}
tls: {{ $.service }}-tls
{{- with .caSecret }}
ca: {{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- with .secrets }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* File with the CA that the other side's certificate must be signed by. */}}
{{- define "kelvin.ca" -}}
/etc/kelvin/{{ ternary "ca" "tls" (not (empty .Values.tls.caSecret)) }}/ca.crt
{{- end -}}

{{/* Variables of a pod: settings of the chart's and of the user's, telemetry, and what else the user wants. */}}
{{- define "kelvin.environment" -}}
{{- $telemetry := .root.Values.telemetry -}}
{{- range $key, $value := .values.settings }}
{{- if hasKey $.settings $key }}
{{- fail (printf "%s.settings.%s: the chart sets KELVIN_%s from other values; see docs/configuration.md for which" $.name $key $key) }}
{{- end }}
{{- $_ := set $.settings $key $value }}
{{- end -}}
- name: RUST_LOG
  value: {{ $telemetry.log | quote }}
{{- range $key, $value := .settings }}
- name: KELVIN_{{ $key }}
  {{- /* A number of values.yaml is a float64, and a large one would become 5e+06. */}}
  value: {{ if kindIs "float64" $value }}{{ toJson $value | quote }}{{ else }}{{ toString $value | quote }}{{ end }}
{{- end }}
{{- with $telemetry.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_METRIC_EXPORT_INTERVAL
  value: {{ mul $telemetry.metricIntervalSeconds 1000 | toString | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ toString $telemetry.traceRatio | quote }}
{{- range $name, $field := dict "POD_NAME" "metadata.name" "POD_UID" "metadata.uid" "NODE_NAME" "spec.nodeName" }}
- name: {{ $name }}
  valueFrom: {fieldRef: {fieldPath: {{ $field }}}}
{{- end }}
- name: OTEL_SERVICE_NAME
  value: {{ $.service }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ list
      (printf "service.namespace=%s" $.root.Release.Namespace)
      (printf "service.instance.id=%s.$(POD_NAME).%s" $.root.Release.Namespace $.name)
      (printf "k8s.namespace.name=%s" $.root.Release.Namespace)
      (printf "k8s.container.name=%s" $.name)
      "k8s.pod.name=$(POD_NAME)" "k8s.pod.uid=$(POD_UID)" "k8s.node.name=$(NODE_NAME)" | join "," }}
{{- end }}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

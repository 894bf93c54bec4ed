{{/* Secret with the certificate of some client, if there is one. */}}
{{- define "kelvin.notes.clientSecret" -}}
{{- $kinds := include "kelvin.clients" . | splitList "," | compact -}}
{{- $name := include "kelvin.fullname" . -}}
{{- if .Values.client.tls.existingSecret -}}
{{- .Values.client.tls.existingSecret -}}
{{- else if .Values.test.enabled -}}
{{- $name }}-check-tls
{{- else if $kinds -}}
{{- $name }}-client-{{ first $kinds }}-tls
{{- end -}}
{{- end -}}

{{/* What the release lacks in this cluster. */}}
{{- define "kelvin.notes.missing" -}}
{{- $ns := .Release.Namespace -}}
{{- $tokens := include "kelvin.tokens" . -}}
{{- $unpublished := list -}}
{{- range $name := include "kelvin.components.calling" . | fromYamlArray | empty | ternary (list "server") (list "server" "client") -}}
{{- $image := include "kelvin.image" (dict "root" $ "name" $name) -}}
{{- if not (contains "/" $image) }}{{ $unpublished = append $unpublished $image }}{{ end -}}
{{- end -}}
{{- if and $unpublished (ne .Values.image.pullPolicy "Never") }}
NO IMAGE REGISTRY: the pods use {{ join " and " $unpublished }}, and no images are published under that name. Build and push them with `make push`, and set image.registry.
{{- end }}
{{- if not (or .Values.auth.existingSecret (include "kelvin.cluster" .)) }}
NO TOKEN: the chart was rendered without a cluster, so it does not contain the Secret {{ $tokens }}; the pods wait until it exists. Create it once:
  kubectl -n {{ $ns }} create secret generic {{ $tokens }} --from-literal=tokens="$(head -c 30 /dev/urandom | base64)"
{{- end }}
{{- if not (or .Values.telemetry.endpoint .Values.podMonitor.enabled) }}
NO TELEMETRY: traces, metrics and logs are not exported, and the dashboards stay empty. Set telemetry.endpoint (OTLP), or podMonitor.enabled for metrics that Prometheus scrapes.
{{- else if not .Values.telemetry.endpoint }}
Traces and logs are not exported: set telemetry.endpoint (OTLP).
{{- end }}
{{- if and .Values.alerts.enabled (not (include "kelvin.alerts" .)) }}
NO ALERTS: this cluster has no PrometheusRule CRD. Install kube-prometheus-stack and upgrade this release, or set alerts.enabled=false.
{{- else if and .Values.alerts.enabled (not .Values.alerts.labels) }}
The PrometheusRules have no labels of their own. Prometheus loads them only if its selector matches; this prints what to set in alerts.labels:
  kubectl get prometheus --all-namespaces -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name}: {.spec.ruleSelector}{"\n"}{end}'
{{- end }}
{{- end -}}

{{- define "kelvin.notes.warnings" -}}
{{- range include "kelvin.renamed" . | fromYamlArray }}
{{- if include "kelvin.at" (list $.Values .old) }}
WARNING: {{ .old }} is now called {{ .new }}. The old name still works in this version.
{{- end }}
{{- end }}
{{- if not (kindIs "invalid" .Values.auth.keepOnUninstall) }}
WARNING: auth.keepOnUninstall has no effect. helm uninstall always leaves the Secret with the tokens.
{{- end }}
{{- if not .Values.tls.enabled }}
WARNING: tls.enabled is false. Tokens and readings cross the network in plain text.
{{- end }}
{{- if and .Values.podMonitor.enabled .Values.telemetry.endpoint }}
WARNING: metrics are exported over OTLP and scraped. If both reach the same Prometheus, sums count them twice: set OTEL_METRICS_EXPORTER=none in server.extraEnv and client.extraEnv.
{{- end }}
{{- if not .Values.networkPolicy.enabled }}
WARNING: networkPolicy.enabled is false. Every pod in the cluster can reach the servers.
{{- end }}
{{- if and .Values.server.grpcRoute.enabled .Values.tls.enabled (not .Values.server.grpcRoute.caCertificateRefs) }}
WARNING: the server expects TLS from the gateway of server.grpcRoute. Set server.grpcRoute.caCertificateRefs, or configure the gateway to use TLS to the server.
{{- end }}
{{- if and (or .Values.server.externalService.enabled .Values.server.tlsRoute.enabled) .Values.tls.enabled (not (include "kelvin.external" .)) (not (or .Values.tls.existingSecret .Values.tls.dnsNames .Values.tls.ipAddresses)) }}
WARNING: callers outside the cluster cannot verify the server: its certificate does not contain a name or address that they connect to. Set tls.external.
{{- end }}
{{- end -}}

{{- define "kelvin.guard.outside" -}}
{{- range $route := list "grpcRoute" "tlsRoute" -}}
{{- with index $.Values.server $route -}}
{{- if .enabled -}}
{{- if not .parentRefs -}}
{{- fail (printf "server.%s.enabled is true, but no gateway is named: set server.%s.parentRefs" $route $route) -}}
{{- end -}}
{{- if and $.Values.networkPolicy.enabled (not .from) -}}
{{- fail (printf "server.%s.enabled is true, but the NetworkPolicy would deny the gateway's calls: set server.%s.from to the gateway's pods" $route $route) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.server.tlsRoute.enabled (not .Values.server.tlsRoute.hostnames) -}}
{{- fail "server.tlsRoute.enabled is true, but a TLSRoute needs the names that callers ask for: set server.tlsRoute.hostnames" -}}
{{- end -}}
{{- if and .Values.server.grpcRoute.enabled (eq .Values.tls.mtls "required") -}}
{{- fail "server.grpcRoute terminates the callers' TLS, so their certificates do not reach the server, but tls.mtls is required: use server.tlsRoute, or set tls.mtls to optional" -}}
{{- end -}}
{{- if and .Values.server.tlsRoute.enabled (not .Values.tls.enabled) -}}
{{- fail "server.tlsRoute passes TLS through to the server, but tls.enabled is false: use server.grpcRoute, or set tls.enabled to true" -}}
{{- end -}}
{{- with .Values.server.externalService -}}
{{- if and .enabled (eq .type "NodePort") (or .loadBalancerClass .loadBalancerSourceRanges) -}}
{{- fail "server.externalService.type is NodePort, which has no load balancer: remove loadBalancerClass and loadBalancerSourceRanges, or set the type to LoadBalancer" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kelvin.guard.telemetry" -}}
{{- $policy := .Values.networkPolicy -}}
{{- with .Values.telemetry -}}
{{- if and .endpoint $policy.enabled (not $policy.collector) -}}
{{- fail (printf "telemetry.endpoint is %s, but the NetworkPolicy would drop what is exported: set networkPolicy.collector to the endpoint's pods or addresses, as NetworkPolicy peers" .endpoint) -}}
{{- end -}}
{{- if and .headers .headersSecret.name -}}
{{- fail "telemetry.headers and telemetry.headersSecret are both set: put all headers into the Secret" -}}
{{- end -}}
{{- if not .endpoint -}}
{{- if or .headers .headersSecret.name .caSecret -}}
{{- fail "telemetry.headers, headersSecret and caSecret have no effect without telemetry.endpoint: set it, or remove them" -}}
{{- end -}}
{{- else if and .caSecret (hasPrefix "http://" .endpoint) -}}
{{- fail (printf "telemetry.caSecret is set, but telemetry.endpoint (%s) is not https: use https://, or remove telemetry.caSecret" .endpoint) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled $policy.enabled (not .Values.podMonitor.from) -}}
{{- fail "podMonitor.enabled is true, but the NetworkPolicy would deny the scrapes: set podMonitor.from to Prometheus' pods, as NetworkPolicy peers" -}}
{{- end -}}
{{- end -}}

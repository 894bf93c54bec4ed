{{/* What the schema cannot say: settings that do not go together stop here, in words that say what to set. */}}
{{- define "kelvin.guards" -}}
{{- $values := .Values }}
{{- $valkey := $values.store.valkey }}
{{- $name := include "kelvin.fullname" . }}

{{- if gt (len $name) 35 }}
{{- fail (printf "the name %q is longer than 35 characters, and the clients' names, made of it, would be too long: set fullnameOverride" $name) }}
{{- end }}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) }}
{{- fail (printf "%q cannot begin the name of a Service: set fullnameOverride to small letters, digits and hyphens, a letter first" $name) }}
{{- end }}

{{- if eq $values.store.kind "memory" }}
{{- if gt (int $values.server.replicas) 1 }}
{{- fail (printf "server.replicas is %d, but with store.kind memory each server would know a part of the readings only: set store.kind to valkey, or server.replicas to 1" (int $values.server.replicas)) }}
{{- end }}
{{- if $values.server.autoscaling.enabled }}
{{- fail "server.autoscaling needs a store that the servers share: set store.kind to valkey, or server.autoscaling.enabled to false" }}
{{- end }}
{{- if $valkey.address }}
{{- fail "store.valkey.address is set, but store.kind is memory: set store.kind to valkey, or leave the address away" }}
{{- end }}
{{- else }}
{{- if not $valkey.address }}
{{- fail "store.kind is valkey, but nothing says where it is: set store.valkey.address to host:port" }}
{{- end }}
{{- if and (contains "," $valkey.address) (not $valkey.cluster) }}
{{- fail "store.valkey.address has several addresses, which only a cluster has: set store.valkey.cluster to true, or name the one address behind which the failover happens" }}
{{- end }}
{{- if and $valkey.tls.enabled (not $valkey.tls.existingSecret) (not $values.tls.enabled) }}
{{- fail "store.valkey.tls needs the CA of the store's certificate: set store.valkey.tls.existingSecret, or store.valkey.tls.enabled to false" }}
{{- end }}
{{- end }}

{{- with $values.server.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail (printf "server.autoscaling.minReplicas (%d) is above server.autoscaling.maxReplicas (%d)" (int .minReplicas) (int .maxReplicas)) }}
{{- end }}
{{- end }}

{{- if $values.tls.enabled }}
{{- if not (.Capabilities.APIVersions.Has "cert-manager.io/v1") }}
{{- fail "cert-manager is not in this cluster, and the certificates come from it: install it first (README.md, \"In a cluster\"), or set tls.enabled to false for plain text. To render without a cluster, add --api-versions cert-manager.io/v1" }}
{{- end }}
{{- else if ne $values.tls.mtls "none" }}
{{- fail (printf "tls.mtls is %s, but tls.enabled is false: set tls.mtls to none" $values.tls.mtls) }}
{{- end }}
{{- end -}}

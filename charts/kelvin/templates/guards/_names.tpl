{{- define "kelvin.guard.names" -}}
{{- $name := include "kelvin.fullname" . -}}
{{- if gt (len $name) 35 -}}
{{- fail (printf "the name %q is longer than 35 characters, and the clients' names, derived from it, would be too long: set fullnameOverride" $name) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) -}}
{{- fail (printf "%q cannot begin the name of a Service: set fullnameOverride to lower-case letters, digits and hyphens, starting with a letter" $name) -}}
{{- end -}}
{{- /* It is a label, also where fullnameOverride names the objects. */ -}}
{{- if not (regexMatch "^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$" (default "" .Values.nameOverride)) -}}
{{- fail (printf "nameOverride (%q) cannot be a label: use at most 63 letters, digits, hyphens, dots and underscores" .Values.nameOverride) -}}
{{- end -}}
{{- if eq (toString .Values.enabled) "false" -}}
{{- fail "enabled is false, but the chart is rendered: give the dependency in the parent's Chart.yaml a condition (condition: kelvin.enabled)" -}}
{{- end -}}
{{- end -}}

{{/* A packaged chart pins its images by digest and names them in an annotation. A digest takes precedence over every tag. */}}
{{- define "kelvin.guard.images" -}}
{{- range $name := list "server" "client" -}}
{{- $own := (index $.Values $name).image -}}
{{- $tag := coalesce $own.tag $.Values.image.tag $.Chart.AppVersion -}}
{{- if and $own.digest (ne $tag $.Chart.AppVersion) (contains $own.digest (index $.Chart.Annotations "artifacthub.io/images" | toString)) -}}
{{- fail (printf "the tag %s of the %s's image has no effect, because this chart pins the image by digest: set %s.image.digest to the digest of that tag, or to \"\"" $tag $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels by which Services, Deployments and NetworkPolicies find the pods. */}}
{{- define "kelvin.guard.labels" -}}
{{- $labels := dict "commonLabels" .Values.commonLabels "server.podLabels" .Values.server.podLabels "client.podLabels" .Values.client.podLabels -}}
{{- range $kind, $own := .Values.clients -}}
{{- $_ := set $labels (printf "clients.%s.podLabels" $kind) (default dict $own).podLabels -}}
{{- end -}}
{{- range $value, $set := $labels -}}
{{- range list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "kelvin/rpc" -}}
{{- if hasKey (default dict $set) . -}}
{{- fail (printf "%s sets %s, by which Services and Deployments select their pods: use another label" $value .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kelvin.guard.renamed" -}}
{{- range include "kelvin.renamed" . | fromYamlArray -}}
{{- $new := include "kelvin.at" (list $.Values .new) -}}
{{- if and (include "kelvin.at" (list $.Values .old)) (ne $new (toString .default)) -}}
{{- fail (printf "%s is the old name of %s, and both are set: remove %s" .old .new .old) -}}
{{- end -}}
{{- end -}}
{{- end -}}

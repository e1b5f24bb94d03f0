{{- define "type" -}}
{{- /* Types whose fields stand in the tables of those that inline them, and those without a table. */ -}}
{{- $inlined := list "PodSpec" "ComponentExtensionSpec" "ServingRuntimePodSpec" "Unsupported" -}}
{{- if and (markdownShouldRenderType .) (not (has .Name $inlined)) }}
### {{ .Name }}

{{ .Doc }}
{{ if .References }}
Used by{{ range $i, $by := .SortedReferences }}{{ if $i }},{{ end }} {{ markdownRenderTypeLink $by }}{{ end }}.
{{ end }}
{{- with index .Markers "kubebuilder:validation:XValidation" }}
Refused with:

{{ range . }}- {{ if .FieldPath }}`{{ trimPrefix "." .FieldPath }}`: {{ end }}{{ .Message | replace "<" "&lt;" }}
{{ end }}
{{- end }}
{{- if .EnumValues }}
| Value | Meaning |
| --- | --- |
{{ range .EnumValues }}| `{{ .Name }}` | {{ regexReplaceAll "^[A-Za-z0-9]+: " (markdownRenderFieldDoc .Doc | replace "<br />" " " | replace "<" "&lt;" | trim) "" }} |
{{ end }}
{{- end }}
{{- if .Members }}{{ template "members" . }}{{ end }}
{{- end }}
{{- end -}}

{{- define "gvDetails" }}
## {{ .GroupVersionString }}
{{ $kinds := .SortedKinds }}
{{- range .SortedTypes }}{{ if has .Name $kinds }}{{ template "type" . }}{{ end }}{{ end }}
{{- range .SortedTypes }}{{ if not (has .Name $kinds) }}{{ template "type" . }}{{ end }}{{ end }}
{{- end -}}

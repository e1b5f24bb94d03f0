{{- define "gvList" -}}
<!-- Generated from the types in api/ by hack/codegen/docs. Do not edit. -->

# API reference
{{ range reverse . -}}
{{- $gv := . -}}
{{- range .SortedKinds }}
- [{{ . }}](#{{ lower . }}) `{{ $gv.GroupVersionString }}`
{{- end }}
{{- end }}

A field is optional unless its rules say otherwise. `kubectl explain isvc.spec.predictor` and so on shows the same texts.
A field of KServe's that is not supported is refused by the API server; what it answers stands under the table.
{{ range reverse . }}{{ template "gvDetails" . }}{{ end }}
{{- end -}}

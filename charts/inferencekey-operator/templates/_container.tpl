{{- /* What the container is told: arguments, variables, files. */ -}}

{{- define "operator.args" -}}
- run
- --lease-namespace={{ .Release.Namespace }}
- --bind-address=:{{ .Values.metrics.port }}
- --on-drift={{ .Values.onDrift }}
- --list-interval={{ .Values.listInterval }}
- --readiness-interval={{ .Values.readinessInterval }}
- --resync-period={{ .Values.resyncPeriod }}
- --deletion-grace={{ .Values.deletionGrace }}
- --client-timeout={{ .Values.clientTimeout }}
{{- with .Values.uncertainCreateTimeout }}
- --uncertain-create-timeout={{ . }}
{{- end }}
{{- if gt (int .Values.shards) 1 }}
- --shards={{ .Values.shards }}
{{- end }}
- --log-level={{ .Values.logLevel }}
- --log-format={{ .Values.logFormat }}
{{- range .Values.secretNames }}
- --secret-name={{ . }}
{{- end }}
{{- range .Values.watchNamespaces }}
- --namespace={{ . }}
{{- end }}
{{- range .Values.platform.allowBaseURLs }}
- --allow-base-url={{ . }}
{{- end }}
{{- range .Values.platform.allowInsecureBaseURLs }}
- --allow-insecure-base-url={{ . }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ quote . }}
{{- end }}
{{- end }}

{{- define "operator.env" -}}
- name: INFERENCEKEY_BASE_URL
  value: {{ quote .Values.platform.baseURL }}
{{- if include "operator.hasCABundle" . }}
- name: SSL_CERT_FILE
  value: /etc/inferencekey/ca/{{ .Values.caBundle.key }}
{{- end }}
{{- with .Values.proxy.url }}
- name: HTTPS_PROXY
  value: {{ quote . }}
- name: HTTP_PROXY
  value: {{ quote . }}
{{- end }}
{{- /* Also without a proxy of ours: extraEnv may bring one. */}}
- name: NO_PROXY
  value: {{ concat (list "$(KUBERNETES_SERVICE_HOST)" "localhost" "127.0.0.1" ".svc" ".cluster.local") .Values.proxy.noProxy | join "," | quote }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "operator.hasCABundle" -}}
{{- with .Values.caBundle }}
{{- if and .configMap .secret }}
{{- fail "caBundle.configMap and caBundle.secret exclude each other: name one of them" }}
{{- end }}
{{- or .configMap .secret }}
{{- end }}
{{- end }}

{{- define "operator.mounts" -}}
{{- if include "operator.hasCABundle" . -}}
- {name: ca-bundle, mountPath: /etc/inferencekey/ca, readOnly: true}
{{ end }}
{{- with .Values.extraVolumeMounts }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- define "operator.volumes" -}}
{{- if include "operator.hasCABundle" . -}}
- name: ca-bundle
{{- if .Values.caBundle.configMap }}
  configMap:
    name: {{ .Values.caBundle.configMap }}
{{- else }}
  secret:
    secretName: {{ .Values.caBundle.secret }}
{{- end }}
    items: [{key: {{ quote .Values.caBundle.key }}, path: {{ quote .Values.caBundle.key }}}]
{{ end }}
{{- with .Values.extraVolumes }}
{{- toYaml . }}
{{- end }}
{{- end }}

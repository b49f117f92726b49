{{- define "operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 55 | trimSuffix "-" }}
{{- end }}

{{- /* With what the names of objects end in, a Service has 63 characters at most. */ -}}
{{- define "operator.fullname" -}}
{{- $name := include "operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 55 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 55 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- /* The operator names its Lease after what it watches (leadership.py), so that those of different namespaces do not
       wait for each other. */ -}}
{{- define "operator.lease" -}}
{{- with .Values.watchNamespaces -}}
inferencekey-operator-{{ sortAlpha . | join "," | sha256sum | trunc 8 }}
{{- else -}}
inferencekey-operator
{{- end }}
{{- end }}

{{- /* One for each shard. */ -}}
{{- define "operator.leases" -}}
{{- $name := include "operator.lease" . }}
{{- $names := list $name }}
{{- range $shard := untilStep 1 (int .Values.shards) 1 }}
{{- $names = append $names (printf "%s-shard-%d" $name $shard) }}
{{- end }}
{{- join ", " $names }}
{{- end }}

{{- /* What it may do in every namespace that it watches; a comment says why where that is not plain. */ -}}
{{- define "operator.rules" -}}
- apiGroups: [inferencekey.com]
  resources: [workloads]
  verbs: [list, watch, patch] # patch: our finalizer. No other field of a Workload is ever written
- apiGroups: [inferencekey.com]
  resources: [workloads/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson .Values.secretNames }} # secretNames; no other Secret can be read
  verbs: [list, watch]
- apiGroups: [""]
  resources: [configmaps] # the endpoints; the watch selects our own label
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch] # patch: a repeat is counted in the Event that stands
{{- end }}

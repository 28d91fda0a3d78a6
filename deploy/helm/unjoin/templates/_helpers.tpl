{{- define "unjoin.name" -}}
{{- if contains "unjoin" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-unjoin" (.Release.Name | trunc 33) | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What tells a role's pods from all others. Takes {root, role}. */}}
{{- define "unjoin.selector" -}}
app.kubernetes.io/name: unjoin
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "unjoin.labels" -}}
{{ include "unjoin.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "unjoin.metadata" -}}
name: {{ include "unjoin.name" .root }}-{{ .role }}
labels:
  {{- include "unjoin.labels" . | nindent 2 }}
{{- end }}

{{/* A number as it was written: Helm reads each as a float, and prints a large one as 2.68435456e+08. */}}
{{- define "unjoin.value" -}}
{{- if kindIs "float64" . }}{{ printf "%.0f" . }}{{ else }}{{ . | toString }}{{ end -}}
{{- end }}

{{/* A setting of a role, as text. Takes {root, role, setting, default}. */}}
{{- define "unjoin.setting" -}}
{{- $settings := mergeOverwrite dict .root.Values.settings (index .root.Values .role).settings -}}
{{- $value := index $settings .setting -}}
{{- if kindIs "invalid" $value }}{{ .default }}{{ else }}{{ include "unjoin.value" $value }}{{ end -}}
{{- end }}

{{/* The environment of a role. Takes {root, role, own}; what the chart decides itself, nobody else may set. */}}
{{- define "unjoin.environment" -}}
{{- $values := index .root.Values .role -}}
{{- $fixed := list "data_dir" "kafka_home" "kafka_port" "spool_dir" "http_host" "http_port" "metrics_host" "metrics_port" "kafka_bootstrap" "clickhouse_url" "clickhouse_http_host" "clickhouse_http_port" -}}
{{- $own := .own -}}
{{- if ne .role "migrations" }}{{ $own = merge $own (dict "kafka_bootstrap" (required "kafka.bootstrap: name the brokers, host:port,host:port" .root.Values.kafka.bootstrap)) }}{{ end -}}
{{- if has .role (list "collector" "processor" "sink") }}{{ $own = merge $own (dict "metrics_host" "0.0.0.0" "metrics_port" "9100") }}{{ end -}}
{{- $secret := mergeOverwrite dict .root.Values.secretSettings $values.secretSettings -}}
{{- $given := mergeOverwrite dict .root.Values.settings $values.settings -}}
{{- range $name := concat (keys $given) (keys $secret) -}}
{{- if has $name $fixed }}{{ fail (printf "the chart sets UNJOIN_%s itself; leave %s out of settings and secretSettings (brokers: kafka.bootstrap, database: clickhouse.url)" (upper $name) $name) }}{{ end -}}
{{- end -}}
{{- if eq .role "migrations" -}}
{{- range $name := concat (keys $given) (keys $secret) }}{{ if hasPrefix "kafka_" $name }}{{ $_ := unset $given $name }}{{ $_ = unset $secret $name }}{{ end }}{{ end -}}
{{- end -}}
{{- if $given.kafka_sasl_password }}{{ fail "kafka_sasl_password: name a Secret that holds it in secretSettings, and leave it out of settings" }}{{ end -}}
{{- range $name, $value := mergeOverwrite $given $own }}
{{- if not (or (kindIs "invalid" $value) (hasKey $secret $name)) }}
- name: UNJOIN_{{ upper $name }}
  value: {{ include "unjoin.value" $value | quote }}
{{- end }}
{{- end }}
{{- if has .role (list "sink" "migrations") }}
{{- $url := .root.Values.clickhouse.url }}
{{- $secret = merge $secret (dict "clickhouse_url" (dict "secret" (required "clickhouse.url.secret: name the Secret that holds the database's URL" $url.secret) "key" $url.key)) }}
{{- end }}
{{- range $name, $at := $secret }}
- name: UNJOIN_{{ upper $name }}
  valueFrom:
    secretKeyRef: {name: {{ $at.secret | quote }}, key: {{ $at.key | quote }}}
{{- end }}
{{- end }}

{{/* All of a pod's spec that is the same for every role. Takes {root, role}. */}}
{{- define "unjoin.pod" -}}
{{- $values := index .root.Values .role -}}
automountServiceAccountToken: false
{{- with .root.Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
# A Service called unjoin would otherwise set UNJOIN_… variables, and no role starts with a setting that it does not know.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # Not at every mount: it would open files of mode 600 to the group.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "unjoin.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "unjoin.selector" . | nindent 8 }}
{{- end }}

{{/* All of a container that is the same for every role. Takes {root, role, command, own}. */}}
{{- define "unjoin.container" -}}
name: {{ .role }}
image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: [{{ .command }}]
env:
  {{- include "unjoin.environment" . | trim | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml (index .root.Values .role).resources | nindent 2 }}
{{- end }}

{{- define "unjoin.podAnnotations" -}}
{{- with (index .root.Values .role).podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Whether pods of a role on several nodes may have its keys at once. Takes {root, kind}. */}}
{{- define "unjoin.keysAreShared" -}}
{{- $keys := index .root.Values.keys .kind -}}
{{- if or $keys.secret $keys.claim (eq $keys.accessMode "ReadWriteMany") }}true{{ end -}}
{{- end }}

{{- define "unjoin.checkKeys" -}}
{{- $values := index .root.Values .role -}}
{{- $more := or (gt (int $values.replicas) 1) $values.autoscaling.enabled -}}
{{- if and $more (not (include "unjoin.keysAreShared" .)) -}}
{{- fail (printf "several pods of the %s need the same keys: set keys.%s.accessMode to ReadWriteMany, or name a claim or a Secret (docs/kubernetes.md)" .role .kind) -}}
{{- end -}}
{{- end }}

{{/* The volume of a role's keys. Takes {root, kind}. */}}
{{- define "unjoin.keysVolume" -}}
{{- $keys := index .root.Values.keys .kind -}}
name: keys
{{- if $keys.secret }}
secret:
  secretName: {{ $keys.secret }}
  defaultMode: 0440
{{- else }}
persistentVolumeClaim:
  claimName: {{ $keys.claim | default (printf "%s-%s-keys" (include "unjoin.name" .root) .kind) }}
{{- end }}
{{- end }}

{{- define "unjoin.workers" -}}
{{- include "unjoin.setting" (dict "root" . "role" "collector" "setting" "collect_workers" "default" "1") -}}
{{- end }}

{{/* The ports at which a role's processes answer /metrics. Takes {root, role}; gives [{name, port}]. */}}
{{- define "unjoin.metricsPorts" -}}
{{- $workers := 1 -}}
{{- if eq .role "collector" }}{{ $workers = include "unjoin.workers" .root | int }}{{ end -}}
{{- range $number := untilStep 0 $workers 1 }}
- {name: metrics{{ if $number }}-{{ add1 $number }}{{ end }}, port: {{ add 9100 $number }}}
{{- end }}
{{- end }}

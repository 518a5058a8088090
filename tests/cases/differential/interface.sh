# The interface itself: versions, status codes and bodies, for requests that no client would send.
docker run -d --name a1 busybox sleep 1000
api GET /_ping
head_of GET /nowhere
api GET /nowhere
api GET /v1.51/nowhere
api POST /containers/json
api DELETE /_ping
api GET /v1.10/containers/json
api GET /v1.23/containers/json
api GET /v1.99/containers/json
api GET /v2.0/containers/json
api GET /vabc/containers/json
api GET /v1.24/containers/nobody/json
api GET '/containers/json?filters=abc'
api GET '/containers/json?filters=%7B%22nonsense%22%3A%5B%221%22%5D%7D'
api GET '/containers/json?filters=%7B%22name%22%3A%5B%22zzz%22%5D%7D'
api GET '/containers/json?filters=%7B%22name%22%3A%7B%22zzz%22%3Atrue%7D%7D'
api GET '/containers/json?filters=%7B%22before%22%3A%5B%22zzz%22%5D%7D'
api GET '/containers/json?filters=%7B%22since%22%3A%5B%22zzz%22%5D%7D'
api GET '/containers/json?filters=%7B%22health%22%3A%5B%22zzz%22%5D%7D'
api GET '/containers/json?filters=%7B%22is-task%22%3A%5B%22zzz%22%5D%7D'
api GET '/containers/json?filters=%7B%22network%22%3A%5B%22zzz%22%5D%7D'
api GET '/containers/json?filters=%7B%22volume%22%3A%5B%22zzz%22%5D%7D'
api GET '/containers/json?filters=%7B%22ancestor%22%3A%5B%22zzz%22%5D%7D'
api GET '/containers/json?filters=%7B%22publish%22%3A%5B%22zzz%22%5D%7D'
api GET '/containers/json?filters=%7B%22expose%22%3A%5B%22zzz%22%5D%7D'
api POST /containers/create ''
api POST /containers/create '{}'
api POST /containers/create '{"Image":"absent"}'
api POST /containers/create '{"Image":"BAD"}'
api POST /containers/create '{"Image":"busybox"} trailing'
api POST /containers/create '{"Image":"busybox","Cmd":"a string"}'
api POST '/containers/create?name=a1' '{"Image":"busybox"}'
api POST '/containers/create?name=/a1' '{"Image":"busybox"}'
api POST '/containers/create?name=-bad' '{"Image":"busybox"}'
api POST '/containers/create?platform=bad/bad/bad/bad' '{"Image":"busybox"}'
api POST '/containers/create?platform=linux/arm64' '{"Image":"busybox"}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"no","MaximumRetryCount":3}}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":-3}}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"sometimes"}}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"always"},"AutoRemove":true}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"IpcMode":"nonsense"}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"PidMode":"nonsense"}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"PidMode":"container:"}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"UTSMode":"nonsense"}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"CgroupnsMode":"nonsense"}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Isolation":"nonsense"}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Runtime":"nonsense"}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"ShmSize":-1}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"OomScoreAdj":5000}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Memory":-1}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Memory":1000}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"MemorySwap":1000000000}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Memory":100000000,"MemoryReservation":200000000}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"MemorySwappiness":200}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"NanoCpus":-1}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"NanoCpus":100000000000000}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"NanoCpus":1000000000,"CpuPeriod":100000}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"CpuPeriod":1}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"CpuQuota":1}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"CpusetCpus":"abc"}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"CpusetCpus":"99"}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"CpusetMems":"99"}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"BlkioWeight":5}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"PidsLimit":-5}}' | tail -1
api POST /containers/create '{"Image":"busybox","HostConfig":{"DeviceRequests":[{"Driver":"nvidia","Count":-1,"Capabilities":[["gpu"]]}]}}' | tail -1
api POST /containers/create '{"Image":"busybox","HostConfig":{"Binds":["/x"]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Binds":["/x:/y","/z:/y"]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"VolumesFrom":["nobody"]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"VolumesFrom":["a1:zz"]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"bind","Source":"/etc"}]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"volume","Target":"/x","BindOptions":{}}]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Mounts":[{"Target":"/x"}]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"npipe","Target":"/x"}]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/x","Source":"y"}]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"PortBindings":{"abc":[{"HostPort":"80"}]}}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"abc"}]}}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"LogConfig":{"Type":"nonsense"}}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"LogConfig":{"Type":"json-file","Config":{"x":"y"}}}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"CapAdd":["NONSENSE"]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"CapDrop":["NONSENSE"]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"ExtraHosts":["bad"]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"ExtraHosts":["a:bad"]}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"GroupAdd":["nonsense"]}}' | tail -1
api POST /containers/create '{"Image":"busybox","HostConfig":{"Tmpfs":{"relative":""}}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Tmpfs":{"/x":"bad=1"}}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"Annotations":{"":"x"}}}'
api POST /containers/create '{"Image":"busybox","HostConfig":{"MaskedPaths":["relative"]}}' | tail -1
api POST /containers/create '{"Image":"busybox","Healthcheck":{"Test":["CMD","x"],"Interval":5}}'
api POST /containers/create '{"Image":"busybox","Healthcheck":{"Test":["CMD","x"],"Retries":-5}}'
api POST /containers/create '{"Image":"busybox","StopSignal":"NOPE"}'
api POST /containers/create '{"Image":"busybox","WorkingDir":"relative"}'
api POST /containers/create '{"Image":"busybox","Env":["=x"]}'
api POST /containers/create '{"Image":"busybox","Env":[""]}'
api POST /containers/create '{"Image":"busybox","Hostname":"bad_host!"}' | tail -1
api POST /containers/create '{"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}}'
api POST /v1.43/containers/create '{"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}}'
api POST /containers/nobody/start
api POST /containers/a1/start
api POST /containers/a1/start '{"x":1}'
api POST /v1.23/containers/a1/start '{"x":1}'
api POST '/containers/a1/kill?signal=NOPE'
api POST '/containers/nobody/kill'
api POST '/containers/a1/resize'
api POST '/containers/a1/resize?h=a&w=b'
api POST '/containers/a1/resize?h=10&w=10'
api POST '/containers/a1/rename'
api POST '/containers/a1/rename?name='
api POST '/containers/a1/rename?name=a1'
api POST '/containers/a1/wait?condition=abc'
api POST '/containers/nobody/wait'
api POST '/containers/a1/update' '{"RestartPolicy":{"Name":"bad"}}'
api POST '/containers/a1/update' '{"Memory":1}'
api POST '/containers/a1/update' '{"NanoCpus":100000000000000}'
api POST '/containers/a1/update' '{}'
api GET '/containers/a1/logs'
api GET '/containers/a1/logs?stdout=1&tail=abc'
api GET '/containers/nobody/logs?stdout=1'
api GET '/containers/nobody/stats'
api GET '/containers/a1/archive'
api GET '/containers/a1/archive?path='
api GET '/containers/a1/archive?path=/absent'
api PUT '/containers/a1/archive?path=/absent'
api PUT '/containers/a1/archive?path=/etc/passwd'
head_of HEAD '/containers/a1/archive?path=/etc/passwd' | sed 's/[A-Za-z0-9+=]\{40,\}/B64/'
head_of HEAD '/containers/a1/archive?path=/absent'
head_of HEAD '/containers/a1/archive'
api GET '/containers/a1/changes' | tail -1
api GET '/containers/nobody/export'
api POST '/containers/a1/attach/ws'
api POST '/containers/nobody/attach?stream=1'
api DELETE '/containers/nobody'
api DELETE '/containers/a1'
api POST '/containers/prune?filters=%7B%22nonsense%22%3A%5B%221%22%5D%7D'
api POST '/containers/prune?filters=%7B%22until%22%3A%5B%22abc%22%5D%7D'
api POST /containers/a1/exec '{}'
api POST /containers/a1/exec '{"Cmd":[]}'
api POST /containers/a1/exec '{"Cmd":["true"],"User":"stranger"}'
api POST /containers/nobody/exec '{"Cmd":["true"]}'
api POST /exec/nobody/start '{}'
api GET /exec/nobody/json
api POST '/exec/nobody/resize?h=1&w=1'
id=$(curl -s --unix-socket $SOCKET -H 'Content-Type: application/json' -d '{"Cmd":["true"],"User":"stranger"}' http://x/containers/a1/exec | jq -r .Id); api POST /exec/$id/start '{"Detach":true}'; api GET /exec/$id/json
id=$(curl -s --unix-socket $SOCKET -H 'Content-Type: application/json' -d '{"Cmd":["true"],"User":"stranger"}' http://x/containers/a1/exec | jq -r .Id); api POST /exec/$id/start '{}'; api GET /exec/$id/json
id=$(curl -s --unix-socket $SOCKET -H 'Content-Type: application/json' -d '{"Cmd":["echo","hi"],"AttachStdout":true}' http://x/containers/a1/exec | jq -r .Id); api POST /exec/$id/start '{"Tty":true}' | od -c; api GET /exec/$id/json | sed 's/"Pid":[0-9]*/Pid/'; api POST /exec/$id/start '{"Detach":true}'
id=$(curl -s --unix-socket $SOCKET -H 'Content-Type: application/json' -d '{"Cmd":["absent"]}' http://x/containers/a1/exec | jq -r .Id); api POST /exec/$id/start '{"Detach":true}'; api GET /exec/$id/json
api GET /images/absent/json
api GET /images/BAD/json
api GET /images/busybox/history
api GET '/images/json?filters=%7B%22dangling%22%3A%5B%22zz%22%5D%7D'
api GET '/images/json?filters=%7B%22before%22%3A%5B%22zz%22%5D%7D'
api GET '/images/busybox/json' | head -1 | jq -c 'del(.GraphDriver)'
api POST '/images/create?fromImage=BAD'
api POST '/images/create?fromImage=x&platform=bad/bad/bad/bad'
api POST '/images/absent/tag?repo=x'
api POST '/images/busybox/tag?repo=BAD'
api DELETE '/images/absent'
api DELETE '/images/busybox'
api GET '/images/get?names=absent'
api GET '/images/absent/get'
api POST '/images/prune?filters=%7B%22nonsense%22%3A%5B%221%22%5D%7D'
api POST '/commit?container=nobody'
api POST '/commit'
api POST '/commit?container=a1&repo=BAD'
api POST '/commit?container=a1&changes=CMD+['
api GET /networks/nowhere
api GET '/networks?filters=%7B%22nonsense%22%3A%5B%221%22%5D%7D'
api GET '/networks/bridge?scope=swarm'
api GET '/networks' | head -1 | jq -c 'map(.Name)|sort'
api GET '/networks' | head -1 | jq -c '.[]|select(.Name=="host")|del(.Id,.Created)'
api GET '/networks/host' | head -1 | jq -c 'del(.Id,.Created)'
api GET '/v1.40/networks/host' | head -1 | jq -c 'del(.Id,.Created)'
api POST /networks/create '{}'
api POST /networks/create '{"Name":"x","Driver":"nonsense"}'
api POST /networks/create '{"Name":"bridge"}'
api POST /networks/nowhere/connect '{"Container":"a1"}'
api POST /networks/bridge/connect '{"Container":"nobody"}'
api POST /networks/bridge/connect '{}'
api POST /networks/bridge/disconnect '{"Container":"nobody"}'
api POST /networks/bridge/disconnect '{}'
api DELETE /networks/bridge
api DELETE /networks/nowhere
api POST '/networks/prune?filters=%7B%22nonsense%22%3A%5B%221%22%5D%7D'
api GET /volumes/absent
api POST /volumes/create '{"Name":"!!"}'
api POST /volumes/create '{"Name":"volx","Driver":"nonsense"}'
api POST /volumes/create '{"Name":"volx","DriverOpts":{"nonsense":"1"}}'
api POST /volumes/create '{"Name":"volx","DriverOpts":{"type":"nfs"}}'
api POST /volumes/create '{"Name":"volx","DriverOpts":{"size":"10m"}}'
api DELETE /volumes/absent
api DELETE '/volumes/absent?force=1'
api POST '/volumes/prune?filters=%7B%22nonsense%22%3A%5B%221%22%5D%7D'
api GET '/events?since=0&until=1'
api GET /swarm
api GET /nodes
api GET /services
api GET /tasks
api GET /secrets
api GET /configs
api GET /plugins
api GET /plugins/x/json
api POST /build/prune
api GET /distribution/BAD/json
api GET /v1.24/containers/a1/json | head -1 | jq -c 'keys_unsorted,(.HostConfig|keys_unsorted),(.Config|keys_unsorted),(.NetworkSettings|keys_unsorted),(.NetworkSettings.Networks.bridge|keys_unsorted),(.State|keys_unsorted)'
api GET /v1.40/containers/a1/json | head -1 | jq -c 'keys_unsorted,(.HostConfig|keys_unsorted),(.Config|keys_unsorted),(.NetworkSettings|keys_unsorted),(.NetworkSettings.Networks.bridge|keys_unsorted),(.State|keys_unsorted)'
api GET /v1.43/containers/a1/json | head -1 | jq -c 'keys_unsorted,(.HostConfig|keys_unsorted),(.Config|keys_unsorted),(.NetworkSettings|keys_unsorted),(.NetworkSettings.Networks.bridge|keys_unsorted),(.State|keys_unsorted)'
api GET /v1.47/containers/a1/json | head -1 | jq -c 'keys_unsorted,(.HostConfig|keys_unsorted),(.Config|keys_unsorted),(.NetworkSettings|keys_unsorted),(.NetworkSettings.Networks.bridge|keys_unsorted),(.State|keys_unsorted)'
api GET '/v1.24/containers/json' | head -1 | keys
api GET '/v1.43/containers/json' | head -1 | keys
api GET '/v1.47/containers/json' | head -1 | keys
api GET '/v1.51/containers/json' | head -1 | keys
api GET '/v1.24/volumes' | head -1 | jq -c 'keys_unsorted'
api GET '/v1.24/containers/a1/stats?stream=0&one-shot=1' | head -1 | jq -c keys
docker rm -f a1

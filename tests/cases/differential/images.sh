# Images: names, commit, export and import, save and load.
docker rmi localhost/hello:latest >/dev/null 2>&1; true
docker images
docker images --digests busybox | awk '{print $1,$2,$3}'
docker images --filter reference='busy*' -q | wc -l
docker images --filter reference='nope' -q | wc -l
docker images --filter dangling=true -q
docker images --filter dangling=abc
docker images --filter before=busybox -q
docker images --filter before=absent
docker images --filter since=absent
docker images --filter label=x -q
docker images --filter until=1h -q | wc -l
docker images --filter until=abc
docker images -a a b
docker image inspect busybox | jq -c '.[0]|del(.GraphDriver,.Metadata)'
docker image inspect busybox absent | jq -c 'length'
docker inspect busybox | jq -c '.[0]|keys_unsorted'
docker inspect -s busybox | jq -c '.[0].Size'
docker history busybox | awk '{print $1,$3,$4,$5,$6,$7}'
docker history --no-trunc -q busybox
docker history -H=false --format '{{json .}}' busybox | jq -c 'del(.CreatedSince)'
docker history absent
docker tag busybox a:1
docker tag busybox localhost:5000/x/y
docker tag busybox A:1
docker tag busybox 'a:'
docker tag busybox d441
docker images --format '{{.Repository}}:{{.Tag}} {{.ID}}' | sort
docker rmi a:1 absent
docker rmi busybox@sha256:aaaa
docker rmi ''
docker create --name m1 busybox true
docker tag busybox second
docker rmi busybox
docker rmi second
docker rmi $(docker images -q --no-trunc second)
docker tag localhost:5000/x/y busybox
docker rm m1
docker image prune -f
docker image prune -f --filter nonsense=1
docker run --name c1 -e A=B busybox sh -c 'echo hi > /f; mkdir /d; rm /etc/passwd; ln -s f /l; chmod 600 /etc/group'
docker diff nobody
docker commit -m msg -a me -c 'CMD ["x"]' -c 'ENV Q=1' -c 'LABEL k=v' -c 'EXPOSE 80' -c 'USER 5' -c 'WORKDIR /w' -c 'VOLUME /v' -c 'ENTRYPOINT ["/bin/sh"]' -c 'STOPSIGNAL 9' -c 'ONBUILD RUN x' c1 com:1
docker commit -c 'NONSENSE x' c1
docker commit -c 'CMD [' c1
docker commit -c 'RUN x' c1
{ docker commit -c 'EXPOSE abc' c1; } >/dev/null 2>&1; true
docker commit -c 'HEALTHCHECK CMD true' c1 com:2
docker image inspect -f '{{json .Config.Healthcheck}}' com:2
docker commit c1 BAD
docker commit nobody x
docker image inspect com:1 | jq -c '.[0].RootFS.Layers|length'
docker history --format '{{.CreatedBy}}|{{.Size}}|{{.Comment}}' com:1
docker run --rm --entrypoint sh -u 0 com:1 -c 'cat /f; ls -ld /d /l /etc/group; ls /etc/passwd; pwd; env | sort'
docker images --format '{{.Repository}} {{.Size}}' com | head -1
docker images --filter label=k=v --format '{{.Repository}}'
docker images --filter since=busybox --format '{{.Repository}}:{{.Tag}}' | sort
docker ps -a --filter ancestor=busybox --format '{{.Names}}'
docker export c1 | tar tv f etc/group d l 2>/dev/null | awk '{print $1,$2,$6,$7,$8}'
docker export nobody
docker export -o ./e.tar c1; ls .
docker export -o /absent/e.tar c1
docker import -m imported -c 'CMD ["y"]' ./e.tar imp:1
docker history --format '{{.CreatedBy}}|{{.Comment}}' imp:1
docker import /absent x
docker import - BAD < ./e.tar
{ echo garbage | docker import - gar:1; } >/dev/null 2>&1; true
docker run --rm imp:1 cat /f
docker run --rm imp:1
docker import --platform nonsense/x/y/z ./e.tar imp:2
docker save com:1 | tar xO index.json | jq -c 'del(.manifests[].digest,.manifests[].size)'
docker save com:1 busybox | tar xO manifest.json | jq -c 'map(.RepoTags)'
docker save absent
docker save busybox absent > /dev/null
docker save
docker save -o /absent/x busybox
docker save -o ./s.tar com:1; docker rmi com:1; docker load -i ./s.tar
docker load -q -i ./s.tar
docker load -i /absent
{ echo garbage | docker load; } >/dev/null 2>&1; true
{ docker load < /dev/null; } >/dev/null 2>&1; true
gzip -c ./s.tar | docker load
docker save busybox | docker load
docker save $(docker images -q busybox) | docker load
docker pull BAD
docker pull -a busybox:latest
docker pull --platform nonsense/x/y/z busybox
docker run --rm --platform linux/arm64 --pull never busybox true
docker run --rm --platform nonsense/x/y/z busybox true
docker create --pull never absent
docker run --rm --pull nonsense busybox true
docker logout localhost:1
docker rm c1
docker rmi com:1 com:2 imp:1 localhost:5000/x/y
docker image rm

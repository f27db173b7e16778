#!/bin/bash
# The images of the suite: made, pushed and signed before the gate stands, then removed from the engine. Runs inside.
#
#   registry.test:5000/app         1.0, latest: by `docker trust`       unsigned: no tag of the trust data
#   registry.test:5000/tool        1.0, latest: by the `notary` client
#   registry.test:5000/plain:1.0   never signed
#   foreign.test:5001/app:1.0      from a registry that is not allowed
set -euo pipefail
. "$(dirname "$0")/images.sh"

for tag in 1.0 latest; do
    publish "registry.test:5000/app:$tag" "signed by docker trust, $tag" > /dev/null
    sign_with_docker "registry.test:5000/app:$tag"
    publish "registry.test:5000/tool:$tag" "signed by notary, $tag" > /dev/null
    sign_with_notary "registry.test:5000/tool:$tag"
done
publish registry.test:5000/app:unsigned "not signed, beside signed ones" > /dev/null
publish registry.test:5000/plain:1.0 "never signed" > /dev/null
publish foreign.test:5001/app:1.0 "from a foreign registry" > /dev/null
docker images -q | sort -u | xargs docker rmi -f > /dev/null

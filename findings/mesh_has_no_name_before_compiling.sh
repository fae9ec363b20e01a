#!/usr/bin/env bash
# MuJoCo, seen 2026-11-27 with 3.15.0 and 3.16.0 (CPython 3.11): a mesh whose XML gives no name is
# known by its file's in geoms and in the compiled model. In an MjSpec that was just read, its name is
# empty up to 3.15, and the file's from 3.16 on. Code that keeps the meshes which geoms name, and
# deletes the others, therefore deletes all of them with the older ones, and compiling fails.
#
# Here: envs/robot.py asks for the name or the file's; tests/envs/test_robot.py, which CI runs with the
# oldest MuJoCo that is allowed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import mujoco

SPHERE = "\n".join(
    ["v 0 0 0", "v 1 0 0", "v 0 1 0", "v 0 0 1", "f 1 3 2", "f 1 2 4", "f 1 4 3", "f 2 3 4"]
)
SCENE = """<mujoco><asset><mesh file="part.obj"/></asset>
<worldbody><geom type="mesh" mesh="part"/></worldbody></mujoco>"""
spec = mujoco.MjSpec.from_string(SCENE, assets={"part.obj": SPHERE.encode()})
before = spec.meshes[0].name
model = spec.compile()
print(f"{mujoco.__version__}: {before!r} in the specification, {model.mesh(0).name!r} compiled")
PYTHON
python3 -m venv "$folder/venv"
for version in 3.15.0 3.16.0; do
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "mujoco==$version"
    "$folder/venv/bin/python" "$folder/show.py"
done >"$folder/found"
cat "$folder/found"
diff "$folder/found" - <<'SEEN'
3.15.0: '' in the specification, 'part' compiled
3.16.0: 'part' in the specification, 'part' compiled
SEEN

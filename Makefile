# "make demo" and "make test" work on a fresh machine; everything else builds on the same set-up.
VENV ?= .venv
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
export OMP_NUM_THREADS ?= 1

bin := $(VENV)/bin
installed := $(VENV)/installed
pytest := $(bin)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

RUNS ?= runs

.PHONY: tabletop-small tabletop-joint demo test test-all check format lint typecheck fast-tests install doctor docs lock clean

demo: $(installed)  ## the shipped model plans in the tasks and writes a report
	$(bin)/selfflow demo $(ARGS)

test: $(installed)  ## all tests but those marked slow or gpu
	$(pytest) -m "not gpu and not slow" $(ARGS)

test-all: $(installed)  ## all tests; those that need a GPU skip without one
	$(pytest) $(ARGS)

check: format lint typecheck fast-tests  ## what to run before each commit

install: $(installed)  ## the set-up alone

$(installed): pyproject.toml constraints.txt install.sh
	bash install.sh $(VENV)

doctor: $(installed)  ## what works on this machine
	$(bin)/selfflow doctor

format: $(installed)
	$(bin)/ruff format --check .

lint: $(installed)
	$(bin)/ruff check .

# mypy cannot follow the map from envs/, policies/ and configs/ into the package, so it is shown the
# package as an install would lay it out.
typecheck: $(installed)
	rm -rf build/types && mkdir -p build/types/selfflow_robotics
	ln -s $(CURDIR)/selfflow_robotics/* $(CURDIR)/envs $(CURDIR)/policies $(CURDIR)/configs \
	    build/types/selfflow_robotics/
	cd build/types && $(abspath $(bin))/mypy --config-file $(CURDIR)/pyproject.toml \
	    --cache-dir $(CURDIR)/.mypy_cache -p selfflow_robotics
	cd benchmarks && MYPYPATH=$(CURDIR)/build/types $(abspath $(bin))/mypy \
	    --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache *.py

fast-tests: $(installed)
	$(pytest) -m "not gpu and not slow" --ignore tests/test_packaging.py \
	    --ignore tests/evaluation/test_commands.py $(ARGS)

docs: $(installed)  ## the API pages, from docstrings, into build/docs
	$(bin)/python -c 'import pdoc' 2>/dev/null || \
	    $(bin)/python -m pip install --quiet --use-pep517 --editable '.[docs]' --constraint constraints.txt
	$(bin)/python docs/api.py build/docs

lock: $(installed)  ## choose the pinned versions anew
	$(bin)/pip install --quiet uv
	{ sed '/^[^#]/,$$d' constraints.txt; \
	  $(bin)/uv pip compile pyproject.toml --extra dev --extra menagerie --extra rlds --extra gcs \
	    --extra diffusers --extra transformers --extra ray --extra slurm --extra docs --universal --python-version 3.10.12 \
	    --no-header --no-annotate --upgrade --quiet \
	    --constraint <(echo torch==2.13.0) \
	  | grep -v -E '^(nvidia|cuda|triton)-?|emscripten.*==|^httpx2-jsfetch'; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

# A model's recipe from nothing but seeds: some hours on 2 cores, never yet run in one go. The shipped weights are of an
# older one, see selfflow_robotics/weights/tabletop-small/README.md.
tabletop-small: export OMP_NUM_THREADS = 2
tabletop-small: $(installed)
	$(bin)/selfflow collect out=$(RUNS)/tabletop seed=1 episodes=450 episodes_of.PickCokeCan=900 \
	    episodes_of.MoveNear=900 episodes_of.OpenDrawer=900 players.perturbed=0.3 \
	    players.random=0.06 players.wander=0.2 players.shut=0.1 players.fumble=0.2 labels=teacher
	$(bin)/selfflow tokenizer out=$(RUNS)/tokenizer data=$(RUNS)/tabletop \
	    physics_episodes=400 steps=3000
	$(bin)/selfflow pretrain out=$(RUNS)/pretrained tokenizer=$(RUNS)/tokenizer \
	    physics_episodes=400 cache=$(RUNS)/latents model=cells0 objective=unrolled \
	    trainer=tabletop-pretrain
	$(bin)/selfflow finetune out=$(RUNS)/world start=$(RUNS)/pretrained \
	    tokenizer=$(RUNS)/tokenizer data=$(RUNS)/tabletop cache=$(RUNS)/latents model=cells0 \
	    objective=unrolled objective.ahead=6 trainer=tabletop-finetune trainer.frames=7 \
	    trainer.batch_size=16 prior.steps=8000 \
	    critic.steps=32000 critic.batch_size=48 critic.imagined=0.5
	$(bin)/selfflow improve out=$(RUNS)/improved world_model=$(RUNS)/world data=$(RUNS)/tabletop \
	    cache=$(RUNS)/latents rounds=2 episodes=70 judged=6 players.planner=0.35 \
	    players.alone=0.25 players.wander=0.05 players.shut=0.05 players.fumble=0.15 \
	    players.perturbed=0.05 planner.candidates=32 planner.iterations=2 objective=unrolled \
	    objective.ahead=6 trainer=tabletop-finetune trainer.frames=7 trainer.batch_size=16 \
	    trainer.steps=2000 critic.steps=16000 critic.batch_size=48 prior.steps=16000 seed=2

# A model with a joint policy, from the world model and the data of tabletop-small.
tabletop-joint: $(installed)
	$(bin)/selfflow finetune out=$(RUNS)/joint start=$(RUNS)/world tokenizer=$(RUNS)/tokenizer \
	    data=$(RUNS)/tabletop cache=$(RUNS)/latents model=joint objective=joint trainer=joint \
	    data.repeat.pick=2 data.repeat.move=2 prior.steps=0

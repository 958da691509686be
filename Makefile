VENV ?= .venv
PYTHON ?= python3
RUN = $(VENV)/bin/python
NBCONVERT = $(VENV)/bin/jupyter nbconvert --to notebook
override QUICK := $(filter 1,$(QUICK))

.PHONY: help eval app test data train crossval report notebook lint clean

eval: $(VENV)/installed  ## classify eval_data/ and write out.csv
	$(RUN) eval.py

app: $(VENV)/installed-app  ## the web page, on http://127.0.0.1:7860
	$(RUN) app.py

# Otherwise torch's waiting threads slow down the tests of the other process: training takes twice as long.
test: $(VENV)/installed-dev lint  ## lint and all tests
	OMP_WAIT_POLICY=passive $(RUN) -m pytest -n 2 --dist loadfile --durations=25

lint: $(VENV)/installed-dev  ## check rules and format with ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

data: $(VENV)/installed  ## download RAVDESS into data/
	$(RUN) -m speech_emotion download

train: $(VENV)/installed  ## train the three checkpoints on data/, and predict split 0
	$(RUN) train.py
	$(RUN) train.py --drop sad
	$(RUN) train.py --network any-voice

crossval: train  ## train and compute everything else under results/ that the report needs, in fourteen hours of one core
	for n in 1 2 3 4; do $(RUN) train.py --split $$n && $(RUN) train.py --split $$n --drop sad || exit; done
	for n in 0 1 2 3 4; do $(RUN) train.py --fold $$n || exit; done
	$(RUN) train.py --shuffle-labels
	for n in 1 2 3 4; do $(RUN) train.py --network any-voice --split $$n || exit; done
	for n in 0 1 2 3 4; do $(RUN) train.py --network any-voice --fold $$n --out .cache/any8-fold$$n.pt || exit; done
	for n in 1 2; do $(RUN) train.py --network any-voice --fold 0 --seed $$n || exit; done
	for n in 0 1 2 3 4 5; do $(RUN) train.py --network any-voice --fold emobox:$$n --spoken || exit; done
	for n in 0 1 2 3 4 5; do $(RUN) train.py --network any-voice --fold emobox:$$n || exit; done
	$(RUN) train.py --network any-voice --shuffle-labels
	$(RUN) train.py --drop sad --schedule cosine_warm_restarts
	$(RUN) -m research.baseline
	$(RUN) -m research.checkpoints emodb
	$(RUN) -m research.speech_only
	$(RUN) -m research.adaptation --folds .cache
	$(RUN) -m research.conversations
	$(RUN) -m research.teaching
	$(RUN) -m research.robustness
	$(RUN) -m research.robustness --folds .cache

report: $(VENV)/installed  ## compute the tables and pictures from results/, without audio
	$(RUN) -m research.report

notebook: $(VENV)/installed  ## run the notebooks in place; with QUICK=1 a shortened run, into .cache/quick
	for name in audioClassification unseenVoices; do \
	    QUICK=$(QUICK) $(NBCONVERT) --execute $(if $(QUICK),--output-dir .cache/quick,--inplace) $$name.ipynb && \
	    $(NBCONVERT) --inplace --coalesce-streams $(if $(QUICK),.cache/quick/)$$name.ipynb || exit; done

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# pip shows what it does: torch alone is hundreds of megabytes.
$(VENV)/installed: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-app: requirements-app.txt $(VENV)/installed
	$(RUN) -m pip install --disable-pip-version-check -r requirements-app.txt
	touch $@

$(VENV)/installed-dev: $(wildcard requirements-*.txt) $(VENV)/installed
	$(RUN) -m pip install --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:  ## remove what the other targets created
	rm -rf $(VENV) .cache out.csv out.csv.*part

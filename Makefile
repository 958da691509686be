VENV ?= .venv
PYTHON ?= python3
RUN = $(VENV)/bin/python
NBCONVERT = $(VENV)/bin/jupyter nbconvert --to notebook
override QUICK := $(filter 1,$(QUICK))

.PHONY: help eval app test mutate data train crossval report notebook lint clean

eval: $(VENV)/installed  ## classify eval_data/ and write out.csv
	$(RUN) eval.py

app: $(VENV)/installed-app  ## a web page that listens, on http://127.0.0.1:7860
	$(RUN) app.py

test: $(VENV)/installed-dev lint  ## everything that must hold
	$(RUN) -m pytest

lint: $(VENV)/installed-dev  ## ruff: rules and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

mutate: $(VENV)/installed-dev  ## the faults that no test notices, of all functions behind the numbers or of MODULE=corpora/splits
	$(RUN) tests/mutate.py $(MODULE)

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

data: $(VENV)/installed  ## download RAVDESS into data/
	$(RUN) -m speech_emotion.corpora.download

train: $(VENV)/installed  ## the three checkpoints, from data/, with the predictions of split 0
	$(RUN) train.py
	$(RUN) train.py --drop sad
	$(RUN) train.py --network any-voice

crossval: train  ## all else under results/ from which the report is made, in eight hours of a core
	for n in 1 2 3 4; do $(RUN) train.py --split $$n && $(RUN) train.py --split $$n --drop sad || exit; done
	for n in 0 1 2 3 4; do $(RUN) train.py --fold $$n || exit; done
	$(RUN) train.py --shuffle-labels
	for n in 1 2 3 4; do $(RUN) train.py --network any-voice --split $$n || exit; done
	for n in 0 1 2 3 4; do $(RUN) train.py --network any-voice --fold $$n --out .cache/any8-fold$$n.pt || exit; done
	for n in 0 1 2 3 4 5; do $(RUN) train.py --network any-voice --fold emobox:$$n --spoken || exit; done
	for n in 0 1 2 3 4 5; do $(RUN) train.py --network any-voice --fold emobox:$$n || exit; done
	$(RUN) train.py --network any-voice --shuffle-labels
	$(RUN) train.py --drop sad --schedule cosine_warm_restarts
	$(RUN) train.py emodb
	$(RUN) train.py adaptation --folds .cache
	$(RUN) train.py robustness
	$(RUN) benchmarks/own_labels_emodb.py
	$(RUN) benchmarks/development_fold.py

report: $(VENV)/installed  ## the tables and pictures, from results/, without audio
	$(RUN) train.py report

notebook: $(VENV)/installed  ## run the notebooks in place; with QUICK=1 two epochs only, into .cache/quick
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

clean:  ## remove what the other targets made here
	rm -rf $(VENV) .cache out.csv out.csv.*part

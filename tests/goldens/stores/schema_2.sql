-- A store of schema version 2 with one finished run and one answer, as that version wrote it.
PRAGMA application_id = 1296843078;
PRAGMA user_version = 2;
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  identity TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'interrupted')),
  method TEXT NOT NULL,
  label TEXT NOT NULL,
  model TEXT NOT NULL,
  architecture TEXT NOT NULL,
  corpus TEXT NOT NULL,
  protocol TEXT NOT NULL,
  config TEXT NOT NULL,
  stage_versions TEXT NOT NULL,
  dtype TEXT NOT NULL,
  device TEXT NOT NULL,
  threads INTEGER NOT NULL,
  seed INTEGER NOT NULL,
  ad_hoc_limit INTEGER NOT NULL CHECK (ad_hoc_limit IN (0, 1)),
  kv_values_original INTEGER,
  kv_values INTEGER,
  kv_values_by_layer TEXT,
  git_commit TEXT NOT NULL,
  git_dirty INTEGER NOT NULL CHECK (git_dirty IN (0, 1)),
  argv TEXT NOT NULL,
  host TEXT NOT NULL,
  library_versions TEXT NOT NULL,
  started_at TEXT NOT NULL,
  finished_at TEXT,
  peak_rss_mb REAL,
  peak_device_mb REAL,
  error TEXT,
  warnings TEXT NOT NULL,
  UNIQUE (identity, attempt)
) STRICT;
CREATE TABLE input (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  role TEXT NOT NULL,
  path TEXT NOT NULL,
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
  PRIMARY KEY (run_id, role, path)
) STRICT, WITHOUT ROWID;
CREATE TABLE stage_time (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  stage TEXT NOT NULL,
  seconds REAL NOT NULL,
  cpu_seconds REAL NOT NULL,
  PRIMARY KEY (run_id, stage)
) STRICT, WITHOUT ROWID;
CREATE TABLE metric (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  stage TEXT NOT NULL,
  name TEXT NOT NULL,
  protocol TEXT NOT NULL,
  value REAL NOT NULL CHECK (abs(value) < 1e308),
  std_error REAL CHECK (std_error IS NULL OR abs(std_error) < 1e308),
  count INTEGER NOT NULL,
  unit TEXT NOT NULL,
  better TEXT NOT NULL CHECK (better IN ('lower', 'higher', 'neither')),
  PRIMARY KEY (run_id, stage, name, protocol)
) STRICT, WITHOUT ROWID;
CREATE TABLE sample (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  stage TEXT NOT NULL,
  metric TEXT NOT NULL,
  position INTEGER NOT NULL,
  value REAL NOT NULL CHECK (abs(value) < 1e308),
  PRIMARY KEY (run_id, stage, metric, position)
) STRICT, WITHOUT ROWID;
INSERT INTO run (id, identity, attempt, status, method, label, model, architecture, corpus, protocol, config, stage_versions, dtype, device, threads, seed, ad_hoc_limit, kv_values_original, kv_values, kv_values_by_layer, git_commit, git_dirty, argv, host, library_versions, started_at, finished_at, peak_rss_mb, peak_device_mb, error, warnings) VALUES (1, '855985651b67872acf7b417506d859184dd05353ca99a26a9d54e24eb1812b3a', 1, 'done', 'stream_match', 'stream_match d64 r128 closed form', 'SmolLM2', 'llama', 'wikitext2-tok', 'hf-chunk/512/first8', '{"command":"run","label":"stream_match","method":"stream_match"}', '{"calibrate":1,"convert":1,"score":1}', 'fp32', 'cpu', 2, 42, 0, 384, 192, '[192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192]', '01954a7ff179', 0, '["mlaforge","run"]', 'machine', '{"cli11":"2.1.2","compiler":"GNU 12.2.0","cpu":"AVX2","libtorch":"2.11.0","mkl":"Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64 architecture applications","nlohmann_json":"3.11.2","onednn":"Intel(R) MKL-DNN v3.10.2 (Git Hash f1d471933dc852f956fd05389f9313c7148783d5)","openmp":"OpenMP 201511 (a.k.a. OpenMP 4.5)","sqlite":"3.40.1"}', '2026-11-25T06:21:15Z', '2026-11-25T06:22:43Z', 1319.72265625, 0.0, NULL, '[]');
INSERT INTO metric VALUES (1, 'mla', 'perplexity', 'hf-chunk/512/first8', 30.924181870567185, 2.8806334066817563, 8, '1', 'lower');
INSERT INTO metric VALUES (1, 'original', 'perplexity', 'hf-chunk/512/first8', 27.613870272236877, 2.110796523108016, 8, '1', 'lower');
INSERT INTO metric VALUES (1, 'partial_rope', 'perplexity', 'hf-chunk/512/first8', 30.624761726724756, 2.200301542871707, 8, '1', 'lower');
CREATE TABLE answer (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  task TEXT NOT NULL,
  stage TEXT NOT NULL,
  position INTEGER NOT NULL,
  item TEXT NOT NULL,
  prompt_sha256 TEXT NOT NULL CHECK (length(prompt_sha256) = 64),
  prediction TEXT NOT NULL,
  gold TEXT NOT NULL,
  score REAL NOT NULL CHECK (abs(score) < 1e308),
  tokens INTEGER NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (run_id, task, stage, position)
) STRICT, WITHOUT ROWID;
INSERT INTO answer VALUES (1, 'arc_easy', 'mla', 0, 'item 1', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '1', '1', 1.0, 12, '{}');

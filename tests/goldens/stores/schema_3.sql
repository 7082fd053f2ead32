-- A store of schema version 3 with one finished run, one answer, one job of a sweep and one tag, as that version wrote it.
PRAGMA application_id = 1296843078;
PRAGMA user_version = 3;
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
CREATE TABLE job (
  key TEXT PRIMARY KEY CHECK (length(key) = 64),
  label TEXT NOT NULL,
  flags TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'done', 'failed')),
  owner TEXT,
  lease_until INTEGER,
  attempts INTEGER NOT NULL,
  run_id INTEGER REFERENCES run (id) ON DELETE CASCADE,
  seconds REAL,
  error TEXT,
  CHECK ((status = 'running') = (owner IS NOT NULL AND lease_until IS NOT NULL)),
  CHECK ((status = 'done') = (run_id IS NOT NULL)),
  CHECK ((status = 'failed') = (error IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX job_run ON job (run_id);
CREATE TABLE sweep_job (
  sweep TEXT NOT NULL,
  key TEXT NOT NULL REFERENCES job (key) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  PRIMARY KEY (sweep, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX sweep_job_key ON sweep_job (key);
CREATE TABLE tag (
  run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_identity ON run (identity, status);
CREATE VIEW latest_run AS
  SELECT * FROM run r WHERE status = 'done' AND ad_hoc_limit = 0
    AND id = (SELECT max(id) FROM run WHERE identity = r.identity AND status = 'done');
CREATE VIEW runs_wide AS
  SELECT r.id AS run_id, r.status, r.method, r.label, r.model, r.corpus, r.protocol, r.dtype, r.device, r.threads, r.seed, r.ad_hoc_limit,
    r.kv_values_original, r.kv_values,
    (SELECT value FROM metric WHERE run_id = r.id AND stage = 'original' AND name = 'perplexity' AND protocol = r.protocol) AS ppl_original,
    (SELECT value FROM metric WHERE run_id = r.id AND stage = 'partial_rope' AND name = 'perplexity' AND protocol = r.protocol) AS ppl_partial_rope,
    (SELECT value FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'perplexity' AND protocol = r.protocol) AS ppl_mla,
    (SELECT std_error FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'perplexity' AND protocol = r.protocol) AS ppl_mla_std_error,
    (SELECT value FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'kld_mean' AND protocol = r.protocol) AS kld_mean,
    (SELECT value FROM metric WHERE run_id = r.id AND stage = 'mla' AND name = 'same_top_share' AND protocol = r.protocol) AS same_top_share,
    (SELECT sum(seconds) FROM stage_time WHERE run_id = r.id) AS seconds,
    r.peak_rss_mb, r.git_commit, r.git_dirty, r.host, r.started_at, r.finished_at, r.config, r.error, r.warnings, r.identity,
    (SELECT group_concat(name, ', ') FROM tag WHERE run_id = r.id) AS tags
  FROM run r;
CREATE VIEW zoo AS
  SELECT w.model, w.label, w.method, w.dtype, w.kv_values, w.kv_values_original,
    100.0 * (1.0 - 1.0 * w.kv_values / w.kv_values_original) AS saved_percent, w.ppl_original, w.ppl_partial_rope, w.ppl_mla, w.ppl_mla_std_error,
    w.kld_mean, w.same_top_share, w.seconds, w.corpus, w.protocol, w.run_id
  FROM runs_wide w JOIN latest_run l ON l.id = w.run_id WHERE w.ppl_mla IS NOT NULL;
CREATE VIEW best_per_budget AS
  SELECT model, corpus, protocol, dtype, kv_values, method, label, ppl_mla, ppl_mla_std_error, ppl_original, kld_mean, run_id
  FROM (SELECT *, row_number() OVER (PARTITION BY model, corpus, protocol, dtype, kv_values ORDER BY ppl_mla, run_id) AS place FROM zoo)
  WHERE place = 1;
CREATE VIEW pareto AS
  SELECT model, corpus, protocol, dtype, kv_values, method, label, ppl_mla, ppl_mla_std_error, ppl_original, kld_mean, run_id
  FROM (SELECT *, min(ppl_mla) OVER (PARTITION BY model, corpus, protocol, dtype ORDER BY kv_values
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS smaller FROM best_per_budget)
  WHERE smaller IS NULL OR ppl_mla < smaller;
INSERT INTO run (id, identity, attempt, status, method, label, model, architecture, corpus, protocol, config, stage_versions, dtype, device, threads, seed, ad_hoc_limit, kv_values_original, kv_values, kv_values_by_layer, git_commit, git_dirty, argv, host, library_versions, started_at, finished_at, peak_rss_mb, peak_device_mb, error, warnings) VALUES (1, '855985651b67872acf7b417506d859184dd05353ca99a26a9d54e24eb1812b3a', 1, 'done', 'stream_match', 'stream_match d64 r128 closed form', 'SmolLM2', 'llama', 'wikitext2-tok', 'hf-chunk/512/first8', '{"command":"run","label":"stream_match","method":"stream_match"}', '{"calibrate":1,"convert":1,"score":1}', 'fp32', 'cpu', 2, 42, 0, 384, 192, '[192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192,192]', '01954a7ff179', 0, '["mlaforge","run"]', 'machine', '{"cli11":"2.1.2","compiler":"GNU 12.2.0","cpu":"AVX2","libtorch":"2.11.0","mkl":"Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64 architecture applications","nlohmann_json":"3.11.2","onednn":"Intel(R) MKL-DNN v3.10.2 (Git Hash f1d471933dc852f956fd05389f9313c7148783d5)","openmp":"OpenMP 201511 (a.k.a. OpenMP 4.5)","sqlite":"3.40.1"}', '2026-11-25T06:21:15Z', '2026-11-25T06:22:43Z', 1319.72265625, 0.0, NULL, '[]');
INSERT INTO metric VALUES (1, 'mla', 'perplexity', 'hf-chunk/512/first8', 30.924181870567185, 2.8806334066817563, 8, '1', 'lower');
INSERT INTO metric VALUES (1, 'original', 'perplexity', 'hf-chunk/512/first8', 27.613870272236877, 2.110796523108016, 8, '1', 'lower');
INSERT INTO metric VALUES (1, 'partial_rope', 'perplexity', 'hf-chunk/512/first8', 30.624761726724756, 2.200301542871707, 8, '1', 'lower');
INSERT INTO answer VALUES (1, 'arc_easy', 'mla', 0, 'item 1', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '1', '1', 1.0, 12, '{}');
INSERT INTO job (key, label, flags, status, owner, lease_until, attempts, run_id, seconds, error) VALUES ('abababababababababababababababababababababababababababababababab', 'stream_match', '{"method":"stream_match"}', 'done', NULL, NULL, 1, 1, 2.5, NULL);
INSERT INTO sweep_job (sweep, key, position) VALUES ('s3', 'abababababababababababababababababababababababababababababababab', 0);
INSERT INTO tag (run_id, name) VALUES (1, 'kept');

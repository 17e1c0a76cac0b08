//! A wrong configuration is refused with line and reason, and every key is documented.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use pillion::source::{OnSchemaChange, Relation, TableSource};
use pillion::{CacheOptions, ServerOptions};
use pillion_server::Config;
use pillion_server::config::{Secret, keys};

use crate::sidecar::config;
use crate::support::{Dir, items, write_parquet};

/// The document of all keys.
fn document() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md")).unwrap()
}

fn parse(text: &str) -> Config {
    let variable = |name: &str| (name == "DATA").then(|| "/data".to_owned());
    Config::parse(text, "pillion.toml", Path::new("/etc"), &variable).unwrap()
}

/// Checks that a configuration is refused with exactly these complaints, in the order of their lines.
#[track_caller]
fn refused(text: &str, complaints: &[&str]) {
    let dir = Dir::empty();
    let path = dir.write("pillion.toml", text);
    for command in [&["config", "check", "--config"], &["serve", "--config"][..]] {
        let outcome = dir.run(&[command, &[path.to_str().unwrap()]].concat());
        assert_eq!(outcome.code, 2, "{outcome:?}");
        let said: Vec<&str> = outcome.errors.lines().collect();
        let (hint, said) = said.split_last().unwrap();
        assert!(hint.contains("docs/configuration.md"), "{hint}");
        assert_eq!(said.len(), complaints.len(), "{}", outcome.errors);
        for (said, complaint) in said.iter().zip(complaints) {
            let place = format!("{}:", path.display());
            let said = said.trim_start_matches("error: ").trim().strip_prefix(&place).unwrap();
            assert_eq!(said, *complaint);
        }
    }
    assert_eq!(dir.files(), ["pillion.toml"], "nothing was made");
}

#[test]
fn every_key_is_documented_with_its_default_and_no_other_is() {
    let documented: BTreeSet<String> = document()
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim().strip_suffix('`')?;
            let default = cells.next()?.trim().trim_matches('`');
            assert!(cells.next()?.trim().len() > 20, "`{name}` has no reason");
            Some(format!("{name} = {default}"))
        })
        .collect();
    let known: BTreeSet<String> = keys().map(|(name, key)| format!("{name} = {}", key.default)).collect();
    assert_eq!(documented, known);
}

/// The example of the document is a configuration, and it has every key.
#[test]
fn the_example_of_the_document_has_every_key() {
    let document = document();
    let (_, rest) = document.split_once("```toml\n# Every key").unwrap();
    let example = rest.split_once("```").unwrap().0;
    let config = parse(&format!("# Every key{example}"));
    assert_eq!((config.sources.len(), config.tables.len()), (4, 7));
    for (name, _) in keys() {
        let key = name.rsplit('.').next().unwrap();
        let is_there = example
            .lines()
            .any(|line| line.starts_with(&format!("{key} =")) || line.starts_with(&format!("[{key}")));
        assert!(is_there, "the example lacks `{name}`");
    }
}

/// The documented defaults are those of the cache.
#[test]
fn defaults_written_out_change_nothing() {
    let mut text = "dir = \"cache\"\nsocket = \"sock\"\n".to_owned();
    let mut access = "[access]\n".to_owned();
    // Some defaults are described in words, and required keys have none.
    let is_value = |default: &str| {
        default.starts_with(['"', '[', '1', 't']) && !default.contains(' ') || default.starts_with('"')
    };
    for (name, key) in keys().filter(|(_, key)| is_value(key.default)) {
        match name.split_once('.') {
            None => text += &format!("{name} = {}\n", key.default),
            Some(("access", name)) => access += &format!("{name} = {}\n", key.default),
            Some(_) => {}
        }
    }
    let (written, left_out) = (parse(&(text + &access)), parse("dir = \"cache\"\nsocket = \"sock\""));
    assert!(written.load_memory.is_some() && written.access.socket_mode.is_some());
    let plain = format!("{:?}", CacheOptions::new());
    assert_eq!(format!("{:?}", written.cache_options()), plain);
    assert_eq!(format!("{:?}", left_out.cache_options()), plain);
    let plain = format!("{:?}", ServerOptions::new("/etc/sock"));
    assert_eq!(format!("{:?}", written.server_options()), plain);
    assert_eq!(format!("{:?}", left_out.server_options()), plain);
    assert_eq!((written.stop_timeout, written.log), (left_out.stop_timeout, left_out.log));
}

#[test]
fn settings_reach_the_cache_and_the_socket() {
    let config = parse(
        "dir = \"cache\"\nsocket = \"sock\"\ndurability_interval = \"250 ms\"\nload_memory = 1_048_576\n\
         query_memory = \"2GiB\"\nquery_threads = 3\nresult_cache = \"9 MiB\"\nspill_dir = \"/spill\"\nconnections_max = 7\n\
         connections_per_user = 5\nshared_memory_per_user = \"77 MiB\"\n\
         handshake_timeout = \"1 min\"\nstop_timeout = \"2 h\"\n[access]\nsocket_mode = 0o600\n\
         allow_uids = [1, 2]\nallow_gids = [3]\nattach = false\n",
    );
    let cache = format!("{:?}", config.cache_options());
    for part in [
        "Interval(250ms)",
        "load_memory: 1048576",
        "query_memory: 2147483648",
        "query_threads: 3",
        "result_cache: 9437184",
        "\"/spill\"",
    ] {
        assert!(cache.contains(part), "{part}: {cache}");
    }
    let server = format!("{:?}", config.server_options());
    for part in [
        "\"/etc/sock\"",
        "connections_max: 7",
        "Some(5)",
        "Some(80740352)",
        "60s",
        "socket_mode: 384",
        "[1, 2]",
        "[3]",
        "attach: false",
    ] {
        assert!(server.contains(part), "{part}: {server}");
    }
    assert_eq!(config.stop_timeout.as_secs(), 7200);
    for (word, shown) in [("always", "Always"), ("never", "Never"), ("interval", "Interval(1s)")] {
        let config = parse(&format!("dir = \"a\"\nsocket = \"b\"\ndurability = \"{word}\""));
        assert!(format!("{:?}", config.cache_options()).contains(shown), "{word}");
    }
}

#[test]
fn variables_are_put_into_texts() {
    let config = parse(
        "dir = \"${DATA}/cache\"\nsocket = \"sock\"\n\
         [tables.a]\nfiles = [\"${DATA}/a.csv\", \"b-$${DATA}-${DATA}.csv\", \"$DATA.csv\"]\n",
    );
    assert_eq!(config.dir, Path::new("/data/cache"));
    assert_eq!(config.tables[0].files, ["/data/a.csv", "/etc/b-${DATA}-/data.csv", "/etc/$DATA.csv"]);
    refused(
        "dir = \"${PILLION_NOT_SET}\"\nsocket = \"${\"\nspill_dir = \"${a b}\"",
        &[
            "1: the environment variable `PILLION_NOT_SET` is not set",
            "2: `${` has no closing `}`; `$${` is a plain `${`",
            "3: `${a b}` is not a name of an environment variable; `$${` is a plain `${`",
        ],
    );
}

#[test]
fn unknown_keys_are_answered_with_the_nearest() {
    refused(
        "dir = \"cache\"\nsocket = \"sock\"\nload_memroy = 1\n[acess]\n",
        &[
            "3: `load_memroy` is not a key of the file; did you mean `load_memory`?",
            "4: `acess` is not a key of the file; did you mean `access`?",
        ],
    );
    refused(
        "dir = \"cache\"\nsocket = \"sock\"\n[access]\nallow_uid = [1]\n[tables.a]\nfiles = \"a.csv\"\n\
         primary-key = \"x\"\ncolour = \"red\"\n",
        &[
            "4: `allow_uid` is not a key of [access]; did you mean `allow_uids`?",
            "7: `primary-key` is not a key of [tables.a]; did you mean `primary_key`?",
            "8: `colour` is not a key of [tables.a]; there are files, format, source, relation, \
             statement, columns, condition, where, on_miss, leave_out, as_text, options, refresh, on_schema_change, audit_every, audit_rows_per_second, append_by, overlap, interval, \
             on_change, cron, time_zone, \
             refresh_on_start, progress_timeout, primary_key, sort_by, reload, write_policy, retain_column, retain_age, \
             max_staleness",
        ],
    );
}

#[test]
fn what_must_be_there_is_asked_for() {
    refused("", &["1: the file lacks `dir`", "1: the file lacks `socket`"]);
    refused(
        "dir = \"\"\nsocket = \"sock\"\n\n[tables.a]\nprimary_key = \"x\"\n[tables.b]\nfiles = []\n",
        &["1: `dir` is empty", "4: [tables.a] lacks `files`", "7: `files` names nothing"],
    );
}

#[cfg(feature = "http")]
#[test]
fn a_door_that_would_be_open_to_all_or_to_nobody_is_refused() {
    let top = "dir = \"cache\"\nsocket = \"sock\"\n";
    let token = "[tokens.it]\nfile = \"t\"\n";
    let unencrypted = "others on the network could read tokens and rows: give a `certificate` and its `private_key`, or set `plaintext = true` if something in front encrypts";
    for address in ["0.0.0.0:80", "10.1.2.3:80", "[::]:80"] {
        refused(&format!("{top}{token}[http]\nlisten = \"{address}\"\n"), &[&format!("6: {unencrypted}")]);
    }
    refused(
        &format!("{top}[http]\nlisten = \"127.0.0.1:80\"\n"),
        &[
            "3: nobody could use [http]: define a token in [tokens.NAME], or say what everyone may do in [http.anonymous]",
        ],
    );
    refused(
        &format!("{top}{token}[http]\nlisten = \"example.org:80\"\n"),
        &[
            "6: `listen` is `example.org:80`, not an address such as 127.0.0.1:8080 or [::1]:8080, nor unix:PATH",
        ],
    );
    refused(
        &format!("{top}{token}[http]\nlisten = \"localhost:80\"\ncertificate = \"c\"\nport = 1\n"),
        &[
            "7: `certificate` and `private_key` go together",
            "8: `port` is not a key of [http]; there are listen, hosts, certificate, private_key, client_authorities, \
             plaintext, anonymous, connections_max, requests_max, requests_waiting_max, streams_max, uploads_max, \
             request_size, upload_size, client_timeout, idle_timeout, request_timeout, upload_timeout",
        ],
    );
    refused(
        &format!("{top}[http]\nlisten = \"unix:h\"\nanonymous = {{ reads = [\"*\"] }}\n[tokens.anonymous]\n"),
        &[
            "5: `reads` is not a key of [anonymous]; did you mean `read`?",
            "6: a token needs a name, other than `anonymous`",
            "6: [tokens.anonymous] lacks `file`",
        ],
    );
    let config = parse(&format!(
        "{top}[tokens.it]\nfile = \"t\"\nread = \"a\"\n[http]\nlisten = \"0.0.0.0:80\"\nplaintext = true\n"
    ));
    assert_eq!(config.tokens[0].file, Path::new("/etc/t"));
    assert_eq!(config.tokens[0].permissions.to_string(), "read a, write nothing, refresh nothing");
    assert_eq!(config.http.unwrap().listen.to_string(), "0.0.0.0:80");
}

#[cfg(feature = "flight")]
#[test]
fn the_flight_sql_door_is_read_like_the_http_door() {
    let top = "dir = \"cache\"\nsocket = \"sock\"\n";
    refused(
        &format!("{top}[flight_sql]\nlisten = \"10.1.2.3:80\"\nhosts = []\n"),
        &[
            "3: nobody could use [flight_sql]: define a token in [tokens.NAME], or say what everyone may do in [flight_sql.anonymous]",
            "4: others on the network could read tokens and rows: give a `certificate` and its `private_key`, or set `plaintext = true` if something in front encrypts",
            "5: `hosts` is not a key of [flight_sql]; there are listen, certificate, private_key, client_authorities, plaintext, \
             anonymous, connections_max, requests_max, requests_waiting_max, statements_max, uploads_max, request_size, \
             upload_size, client_timeout, read_timeout, idle_timeout, request_timeout, upload_timeout, statement_timeout",
        ],
    );
    let config = parse(&format!(
        "{top}[flight_sql]\nlisten = \"unix:f\"\nanonymous = {{ read = [\"a\"] }}\nstatement_timeout = \"5 min\"\nrequests_max = 3\n"
    ));
    let door = config.flight_sql.unwrap();
    assert_eq!((door.listen.to_string(), door.requests_max), ("unix:/etc/f".to_owned(), Some(3)));
    assert_eq!(door.statement_timeout, Some(Duration::from_secs(300)));
}

#[test]
fn wrong_types_and_values_are_refused_with_their_lines() {
    refused(
        "dir = 5\nsocket = [\"a\"]\ndurability = \"allways\"\ndurability_interval = 1\nload_memory = \"3 parsecs\"\n\
         query_memory = 0\nquery_threads = \"four\"\nconnections_max = -1\nhandshake_timeout = \"10\"\n\
         stop_timeout = \"0 s\"\nlog = \"loud\"\naccess = 1\ntables = [1]\n",
        &[
            "1: `dir` is the number 5, not a text in quotes",
            "2: `socket` is a list, not a text in quotes",
            "3: `durability` is \"allways\"; did you mean \"always\"?",
            "4: `durability_interval` is the number 1, not a duration in quotes such as \"500 ms\"",
            "5: `load_memory`: `3 parsecs`: sizes are in B, KiB, MiB, GiB, TiB, or kB, MB, GB, TB",
            "6: `query_memory` is 0; it must be at least 1 byte",
            "7: `query_threads` is the text \"four\", not a whole number",
            "8: `connections_max` is -1; it must be a whole number of at least 1",
            "9: `handshake_timeout`: `10`: durations are in ms, s, min, h or d",
            "10: `stop_timeout` is 0 s; it must be longer",
            "11: `log` is \"loud\"; choose one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
            "12: `access` is the number 1, not a section, written as [access]",
            "13: `tables` is a list, not a section, written as [tables]",
        ],
    );
    refused(
        "dir = \"a\"\nsocket = \"b\"\ndurability = \"always\"\ndurability_interval = \"1 s\"\n[access]\n\
         socket_mode = 660\nallow_uids = \"root\"\nallow_gids = [\n  1,\n  -1,\n]\nattach = \"yes\"\n\
         [tables.t]\nfiles = [\"a.csv\", \"b.csv\"]\nformat = \"cvs\"\nreload = \"strat\"\nprimary_key = [1]\n\
         [tables]\nu = 1\n",
        &[
            "4: `durability_interval` is for `durability = \"interval\"` only",
            "6: `socket_mode` is the number 660, not a mode such as \"0660\"",
            "7: `allow_uids` is the text \"root\", not a list of numbers such as [1000, 2000]",
            "10: `allow_gids`: -1 is not the number of a user or group",
            "12: `attach` is the text \"yes\", not true or false, without quotes",
            "15: `cvs` is not a format of files; did you mean `csv`?; there are arrow, csv, ndjson, parquet, tsv",
            "16: `reload` is \"strat\"; did you mean \"start\"?",
            "17: `primary_key` is the number 1, not a text in quotes, or a list of texts",
            "19: [tables.u] is the number 1, not a section",
        ],
    );
}

#[test]
fn policies_and_retention_are_checked() {
    refused(
        "dir = \"a\"\nsocket = \"b\"\n[tables.t]\nfiles = \"a.csv\"\nreload = \"start\"\nwrite_policy = \"append_only\"\n\
         retain_column = \"at\"\n[tables.u]\nfiles = \"b.csv\"\nretain_age = \"3 weeks\"\nretain_column = \"at\"\n",
        &[
            "5: `reload = \"start\"` replaces rows, which `append_only` does not allow",
            "7: `retain_column` and `retain_age` go together: which rows go, and when",
            "10: `retain_age`: `3 weeks`: durations are in ms, s, min, h or d",
        ],
    );
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let dir = Dir::empty();
    let path = dir.write("pillion.toml", "dir = \"cache\"\nsocket = \"sock\n");
    dir.run(&["config", "check", "--config", path.to_str().unwrap()]).fails(2, &["pillion.toml:2: "]);
    dir.run(&["config", "check", "--config", "missing.toml"]).fails(3, &["cannot read `missing.toml`"]);
    dir.run(&["serve"]).fails(2, &["--config"]);
}

#[test]
fn check_says_what_it_found() {
    let dir = Dir::empty();
    write_parquet(&dir.path("items.parquet"), &items());
    dir.write("a.csv", "x\n1\n");
    dir.write("b.csv", "x\n2\n");
    let tables = "[tables.items]\nfiles = \"items.parquet\"\nprimary_key = \"id\"\nreload = \"start\"\n\
                  [tables.letters]\nfiles = \"*.csv\"\n";
    let path = dir.write("pillion.toml", config(tables));
    let check = ["config", "check", "--config", path.to_str().unwrap()];
    let said = dir.answer(&check);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], format!("configuration  {}", path.display()));
    assert_eq!(lines[1], format!("directory      {}, a new cache", dir.cache().display()));
    assert_eq!(lines[2], format!("socket         {}", dir.path("run/pillion.sock").display()));
    assert_eq!(lines[3], "access         socket mode 0660, everyone whom it lets connect");
    assert!(lines[4].starts_with("table          items: 1 file of "), "{said}");
    assert!(lines[4].ends_with(", key id, loaded again at every start"), "{said}");
    assert_eq!(lines[5], "table          letters: 2 files of 8 B, no key");
    assert_eq!(lines.len(), 6);
    assert!(!dir.cache().exists() && !dir.path("run").exists(), "nothing is made");

    let sidecar = crate::sidecar::Sidecar::ready(&dir, &config(tables));
    let said = dir.answer(&check);
    assert!(said.contains("a cache with 2 tables; a process owns it now"), "{said}");
    assert!(said.contains("pillion.sock; a process listens on it now"), "{said}");
    sidecar.kill();
    let said = dir.answer(&check);
    assert!(said.contains("nobody listens on what is there, so it is replaced"), "{said}");
}

#[test]
fn check_finds_everything_that_would_keep_it_from_starting() {
    let dir = Dir::new();
    let check = |text: &str| {
        let path = dir.write("pillion.toml", text);
        dir.run(&["config", "check", "--config", path.to_str().unwrap()])
    };
    dir.write("a.txt", "x\n1\n");
    dir.write("a.dat", "x\n1\n");
    let long = "x".repeat(120);
    check(&format!("dir = \"cache\"\nsocket = \"/tmp/{long}\"")).fails(
        2,
        &["pillion.toml:2: `socket` is /tmp/x", "125 bytes, and a path of a socket has at most 107"],
    );
    write_parquet(&dir.path("items.parquet"), &items());
    dir.write("torn.parquet", "PAR1 and no more");
    let torn = "[tables.torn]\nfiles = \"torn.parquet\"\n\
                [tables.new]\nfiles = \"items.parquet\"\nsort_by = \"nmae\"";
    check(&config(torn)).fails(
        1,
        &[
            "torn.parquet` is damaged or not a Parquet file",
            "items.parquet` has no column `nmae`; did you mean `name`?",
        ],
    );
    check("dir = \"a.txt/cache\"\nsocket = \"a.txt/sock\"")
        .fails(5, &["a.txt/cache cannot be made", "a.txt is not a directory", "a.txt/sock cannot be made"]);
    check(&config("spill_dir = \"a.txt/spill\""))
        .fails(5, &["`spill_dir` cannot be used", "a.txt is not a directory"]);
    check("dir = \".\"\nsocket = \"sock\"").fails(3, &["the directory", "holds"]);
    check("dir = \"cache\"\nsocket = \"a.txt\"").fails(2, &["a.txt exists and is no socket"]);
    check(&config("[tables.a]\nfiles = [\"gone.csv\", \"*.feather\"]\n[tables.b]\nfiles = \"a.dat\"")).fails(
        3,
        &[
            "table `a`: cannot open",
            "gone.csv",
            "no file matches",
            "table `b`: the ending of",
            "names no format",
        ],
    );
    check(&config("[tables.items]\nfiles = \"a.txt\"\nformat = \"csv\"\nprimary_key = \"name\"")).fails(
        1,
        &["table `items` is there with primary key (id) and sort order (id), not primary key (name) and sort order (name)"],
    );
}

#[test]
fn tables_of_files_say_how_these_are_read() {
    let dir = Dir::empty();
    dir.write("a.txt", "001;NA;x\n2;7;y\n");
    let text = "dir = \"cache\"\nsocket = \"sock\"\n[tables.a]\nfiles = \"a.txt\"\nformat = \"csv\"\nleave_out = \"column_3\"\n\
                options = { delimiter = \";\", header = \"off\", null = \"NA\", types = \"column_2=Float64\" }";
    let path = dir.write("pillion.toml", text);
    let outcome = dir.run(&["warm", "--config", path.to_str().unwrap()]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let answer = dir.answer(&["sql", "--format", "json", "SELECT * FROM a ORDER BY column_1"]);
    assert_eq!(answer, "{\"column_1\":\"001\",\"column_2\":null}\n{\"column_1\":\"2\",\"column_2\":7.0}\n");
    refused(
        "dir = \"cache\"\nsocket = \"sock\"\n[tables.a]\nfiles = \"a.csv\"\n\
         options = { delimeter = \";\", header = \"maybe\", types = \"a=strnig\" }",
        &[
            "5: files have no option `delimeter`; did you mean `delimiter`?; there are delimiter, format, header, hive, null, \
             quote, types",
            "5: the option `header` is `on` or `off`, and not `maybe`",
            "5: `strnig` is not a type, for column `a`: use one of Arrow's, such as Int64, Utf8, Date32, Decimal(10,2), \
             Timestamp(us) or Timestamp(us, \"UTC\")",
        ],
    );
}

#[test]
fn sources_and_their_tables_are_read() {
    let config = parse(
        "dir = \"cache\"\nsocket = \"sock\"\n[sources.shop]\nurl = \"postgresql://a:hidden@db/shop\"\n\
         secret_files = { password = \"pw\" }\n[sources.lake]\nurl = \"landing\"\noptions = { a = \"1\", b = \"2\" }\n\
         secrets = { key = \"hidden\" }\n[tables.orders]\nsource = \"shop\"\nappend_by = \"at\"\noverlap = \"5 min\"\n\
         interval = \"10 s\"\nmax_staleness = \"1 h\"\nprimary_key = [\"id\"]\n[tables.b]\nsource = \"lake\"\nrelation = \"*.csv\"\n\
         options = { delimiter = \";\" }\ninterval = \"on_call\"",
    );
    let [shop, lake] = &config.sources[..] else { panic!("{config:?}") };
    assert_eq!((shop.url.as_str(), lake.url.as_str()), ("postgresql://a:hidden@db/shop", "/etc/landing"));
    assert!(matches!(&shop.secrets[0].1, Secret::File(path) if path.ends_with("etc/pw")));
    assert_eq!(lake.options, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
    assert!(!format!("{config:?}").contains("hidden"));
    let orders = TableSource::new("shop", Relation::table("orders"))
        .append_by("at", Duration::from_secs(300))
        .every(Duration::from_secs(10));
    assert_eq!(config.tables[0].source, Some(orders));
    assert_eq!(config.tables[0].rules.max_staleness, Some(Duration::from_secs(3600)));
    let landed = TableSource::new("lake", Relation::table("*.csv").option("delimiter", ";")).on_call();
    assert_eq!(config.tables[1].source, Some(landed));
    let config = parse(
        "dir = \"cache\"\nsocket = \"sock\"\nrefreshes_at_once = 9\n[sources.shop]\nurl = \"landing\"\n\
         [tables.a]\nsource = \"shop\"\ncron = \"0 3 * * *\"\n[tables.b]\nsource = \"shop\"\n\
         cron = \"*/5 8-18 * * MON-FRI\"\ntime_zone = \"Europe/Berlin\"\n[tables.c]\nsource = \"shop\"\non_change = true\n\
         [tables.d]\nsource = \"shop\"\non_change = true\ninterval = \"5 min\"\n[tables.e]\nsource = \"shop\"\non_change = false",
    );
    assert_eq!(config.refreshes_at_once, Some(9));
    let cron = |table: &str, pattern: &str, zone: &str| {
        Some(TableSource::new("shop", Relation::table(table)).cron(pattern, zone).unwrap())
    };
    assert_eq!(config.tables[0].source, cron("a", "0 3 * * *", "UTC"));
    assert_eq!(config.tables[1].source, cron("b", "*/5 8-18 * * MON-FRI", "Europe/Berlin"));
    let source = |table: &str| TableSource::new("shop", Relation::table(table));
    assert_eq!(config.tables[2].source, Some(source("c").on_change(Duration::from_secs(60))));
    assert_eq!(config.tables[3].source, Some(source("d").on_change(Duration::from_secs(300))));
    assert_eq!(config.tables[4].source, Some(source("e")));
}

#[test]
fn tables_that_follow_every_change_are_read() {
    let text = "dir = \"cache\"\nsocket = \"sock\"\n[sources.shop]\nurl = \"landing\"\npublication = \"for_pillion\"\n\
        [tables.a]\nsource = \"shop\"\nrefresh = \"changes\"\nprimary_key = [\"id\"]\non_schema_change = \"stale\"\n\
        [tables.b]\nsource = \"shop\"\nrefresh = \"changes\"\nprimary_key = [\"id\"]\naudit_every = \"1 d\"\n\
        [tables.c]\nsource = \"shop\"\nrefresh = \"changes\"\nprimary_key = [\"id\"]\naudit_every = \"90 min\"\naudit_rows_per_second = 500";
    let config = Config::parse(text, "pillion.toml", Path::new("/etc"), &|_| None).unwrap();
    let source = TableSource::new("shop", Relation::table("a")).changes().publication("for_pillion");
    assert_eq!(config.tables[0].source, Some(source.on_schema_change(OnSchemaChange::Stale)));
    let source =
        |name: &str| TableSource::new("shop", Relation::table(name)).changes().publication("for_pillion");
    let (day, minutes) = (Duration::from_secs(86_400), Duration::from_secs(90 * 60));
    assert_eq!(config.tables[1].source, Some(source("b").audit_every(day, 10_000)));
    assert_eq!(config.tables[2].source, Some(source("c").audit_every(minutes, 500)));
}

#[test]
fn what_is_wrong_with_sources_is_named() {
    let head = "dir = \"cache\"\nsocket = \"sock\"\n[sources.shop]\nurl = \"landing\"\n";
    for (text, line, words) in [
        ("[tables.t]\nsource = \"shpo\"", 6, "did you mean \"shop\"?"),
        ("[tables.t]\nsource = \"lake\"", 6, "define it in [sources.lake]"),
        ("[tables.t]\nsource = \"shop\"\nfiles = \"x.csv\"", 7, "`files` is for tables of files"),
        ("[tables.t]\nfiles = \"x.csv\"\ninterval = \"1 s\"", 7, "`interval` is for tables with `source`"),
        ("[tables.t]\nsource = \"shop\"\nwrite_policy = \"append_only\"", 7, "only its source writes"),
        ("[tables.t]\nsource = \"shop\"\nrelation = \"a\"\nstatement = \"b\"", 8, "exclude each other"),
        ("[tables.t]\nsource = \"shop\"\noverlap = 5", 7, "`overlap` is for tables with `append_by`"),
        ("[tables.t]\nsource = \"shop\"\nappend_by = \"a\"\noverlap = -5", 8, "at least 0"),
        ("[tables.t]\nsource = \"shop\"\ninterval = \"often\"", 7, "or \"on_call\""),
        ("[tables.t]\nsource = \"shop\"\ncron = \"0 3 * *\"", 7, "does not say minute"),
        ("[tables.t]\nsource = \"shop\"\ncron = \"0 3 * * *\"\ninterval = \"5 s\"", 8, "exclude each other"),
        ("[tables.t]\nsource = \"shop\"\ntime_zone = \"UTC\"", 7, "for tables with `cron`"),
        ("[tables.t]\nsource = \"shop\"\non_change = true\ncron = \"0 3 * * *\"", 7, "exclude each other"),
        (
            "[tables.t]\nsource = \"shop\"\non_change = true\ninterval = \"on_call\"",
            8,
            "`interval` beside `on_change`",
        ),
        (
            "[tables.t]\nsource = \"shop\"\ntime_zone = \"Europe/Belin\"\ncron = \"0 3 * * *\"",
            8,
            "did you mean \"Europe/Berlin\"?",
        ),
        ("[tables.t]\nsource = \"shop\"\naudit_every = \"1 d\"", 7, "`audit_every` is for tables with"),
        ("[tables.t]\nsource = \"shop\"\nrefresh = \"changes\"", 5, "needs a `primary_key`"),
        ("[tables.t]\nsource = \"shop\"\nrefresh = \"change\"", 7, "did you mean \"changes\"?"),
        (
            "[tables.t]\nsource = \"shop\"\nprimary_key = \"id\"\nrefresh = \"changes\"\ninterval = \"5 s\"",
            9,
            "`interval` is not for tables with `refresh = \"changes\"`",
        ),
        ("[tables.t]\nsource = \"shop\"\non_schema_change = \"stale\"", 7, "is for tables with `refresh"),
        ("[tables.t]\nfiles = \"x.csv\"\ncron = \"0 3 * * *\"", 7, "`cron` is for tables with `source`"),
        ("[sources.\"a/b\"]\nurl = \"x\"", 5, "without a slash"),
        (
            "[sources.b]\nsecrets = { k = \"1\" }\nsecret_files = { k = \"2\" }\nurl = \"x\"",
            7,
            "in `secrets` too",
        ),
        ("[sources.b]\nurl = \"x\"\noptions = { k = 1 }", 7, "`options.k` is not a text"),
        ("[sources.b]\noptions = {}", 5, "lacks `url`"),
        ("[sources.b]\nurl = \"x\"\nsecrets = \"hidden\"", 7, "`secrets` is not written as"),
        ("[sources.b]\nurl = \"x\"\nsecrets = { k = [\"hidden\"] }", 7, "`secrets.k` is not a text"),
    ] {
        let parsed = Config::parse(&format!("{head}{text}"), "pillion.toml", Path::new("/etc"), &|_| None);
        let message = format!("{:?}", parsed.unwrap_err()).replace("\\\"", "\"");
        assert!(message.contains(&format!(":{line}: ")) && message.contains(words), "{text}: {message}");
        assert!(!message.contains("hidden"), "{message}");
    }
}

/// The working directory has no part in what a file means.
#[test]
fn paths_in_sources_start_at_the_folder_of_the_configuration() {
    let place = |url: &str| {
        let text = format!("dir = \"cache\"\nsocket = \"sock\"\n[sources.s]\nurl = \"{url}\"\n");
        let variable = |_: &str| None;
        Config::parse(&text, "pillion.toml", Path::new("/etc/50%"), &variable).unwrap().sources[0].url.clone()
    };
    for (url, absolute) in [
        ("sqlite://shop.db", "sqlite:///etc/50%25/shop.db"),
        ("sqlite://db/shop.db?immutable=1", "sqlite:///etc/50%25/db/shop.db?immutable=1"),
        ("sqlite:///shop.db?busy_timeout=1", "sqlite:///shop.db?busy_timeout=1"),
        ("sqlite://:memory:", "sqlite://:memory:"),
        ("delta+file://lake", "delta+file:///etc/50%/lake"),
        ("delta+file:///lake", "delta+file:///lake"),
        ("delta+s3://lake/tables", "delta+s3://lake/tables"),
        (
            "postgresql://db/shop?sslmode=verify-full&sslrootcert=ca.pem",
            "postgresql://db/shop?sslmode=verify-full&sslrootcert=/etc/50%25/ca.pem",
        ),
        (
            "postgresql://db/shop?sslrootcert=system&sslkey=%2Fk",
            "postgresql://db/shop?sslrootcert=system&sslkey=%2Fk",
        ),
        ("mysql://db/shop?ssl-ca=ca.pem&ssl-cert=/c", "mysql://db/shop?ssl-ca=/etc/50%25/ca.pem&ssl-cert=/c"),
        ("s3://bucket/shop", "s3://bucket/shop"),
        ("landing", "/etc/50%/landing"),
        ("./a:b@c", "/etc/50%/./a:b@c"),
    ] {
        assert_eq!(place(url), absolute);
    }
    let config = parse(
        "dir = \"cache\"\nsocket = \"sock\"\n[sources.s]\nurl = \"grpc+tls://db\"\n\
         options = { root_certificates = \"ca.pem\", client_key = \"/k\", database = \"d\" }",
    );
    let options: Vec<(&str, &str)> =
        config.sources[0].options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(options.contains(&("root_certificates", "/etc/ca.pem")), "{options:?}");
    assert!(options.contains(&("client_key", "/k")) && options.contains(&("database", "d")), "{options:?}");
}

/// What `serve` would refuse about sources, without reaching any: nobody listens on port 1.
#[test]
fn check_finds_what_sources_cannot_do() {
    let dir = Dir::empty();
    let check = |source: &str, table: &str| {
        let text = format!("[sources.shop]\nurl = \"{source}\"\n[tables.t]\nsource = \"shop\"\n{table}\n");
        let path = dir.write("pillion.toml", config(&text));
        dir.run(&["config", "check", "--config", path.to_str().unwrap()])
    };
    let (postgres, folder) = ("postgresql://127.0.0.1:1/shop", "landing");
    for (source, table, code, words) in [
        (postgres, "on_change = true", 1, "table `t`: the source `shop` tells no changes"),
        (folder, "condition = \"id > 1\"", 1, "takes no condition"),
        (folder, "statement = \"SELECT 1\"", 1, "answers no statements"),
        (folder, "append_by = \"id\"", 1, "cannot send only the rows after a position"),
        (folder, "columns = []", 2, "`columns` of table `t` is empty"),
        (folder, "columns = [\"id\", \"a\", \"id\"]", 2, "has `id` twice"),
        ("postgresql://u:MsPw55@127.0.0.1:abc/shop", "", 2, "source `shop`"),
        ("postgresql:/u:MsPw55@127.0.0.1/shop", "", 2, "neither a URL nor a path"),
        ("oracle://u:MsPw55@127.0.0.1/shop", "", 2, "unknown scheme"),
    ] {
        let outcome = check(source, table);
        assert_eq!(outcome.code, code, "{source} {table}: {outcome:?}");
        assert!(outcome.errors.contains(words), "{source} {table}: {outcome:?}");
        assert!(!outcome.errors.contains("MsPw55"), "{outcome:?}");
    }
    assert_eq!(check(postgres, "condition = \"id > 1\"\nappend_by = \"id\"").code, 0);
    assert_eq!(check(folder, "on_change = true\ncolumns = [\"id\"]").code, 0);
    let noted = |bound: &str, keys: &str| {
        let outcome = check(folder, &format!("max_staleness = \"{bound}\"\n{keys}"));
        assert_eq!(outcome.code, 0, "{outcome:?}");
        String::from_utf8(outcome.bytes).unwrap().contains("`max_staleness`")
    };
    assert!(noted("60 s", "") && noted("2 s", "interval = \"1 min\"") && noted("1 s", "on_change = true"));
    assert!(
        !noted("61 s", "") && !noted("2 s", "interval = \"1 s\"") && !noted("1 s", "cron = \"0 3 * * *\"")
    );
}

use std::collections::BTreeMap;

use super::*;

fn rendered(template: &str, raw: &str) -> String {
    match Prepared::parse(template) {
        Ok(prepared) => prepared.render_document(raw, "").unwrap_or_else(|failure| failure.message),
        Err(fault) => fault.to_string(),
    }
}

const DOCUMENT: &str = r#"{"Name":"/x","State":{"Running":true,"ExitCode":137,"Health":null},
    "Config":{"Image":"i","Env":["A=1","B=2"],"Labels":{"com.x":"y"}},
    "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}}}"#;

fn shown(template: &str) -> String {
    rendered(template, DOCUMENT)
}

#[test]
fn documents_are_walked_like_docker_does() {
    assert_eq!(shown("{{.State.Running}} {{.State.ExitCode}}"), "true 137");
    assert_eq!(shown("{{range .Config.Env}}{{.}};{{end}}"), "A=1;B=2;");
    assert_eq!(shown("{{index .Config.Labels \"com.x\"}}[{{index .Config.Labels \"none\"}}]"), "y[]");
    assert_eq!(shown("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}"), "8080");
    assert_eq!(
        shown("{{range $p, $c := .NetworkSettings.Ports}}{{$p}}={{(index $c 0).HostPort}}{{end}}"),
        "80/tcp=8080"
    );
    assert_eq!(shown("{{join .Config.Env \",\"}}"), "A=1,B=2");
    assert_eq!(shown("{{.Config.Labels.none}}"), "<no value>");
    assert_eq!(shown("{{with .State}}{{if .Running}}up{{end}}{{end}}"), "up");
    assert_eq!(
        shown("{{.Config.Env}} {{.State}} {{.Config.Labels}}"),
        "[A=1 B=2] {true 137 <nil>} map[com.x:y]"
    );
    assert_eq!(shown("{{printf \"%.3s\" .Name}}{{.Name | printf \"%s%s\" \"a\"}}"), "/xa/x");
}

#[test]
fn what_the_engine_leaves_out_can_be_asked_for() {
    let raw = r#"{"State":{"OOMKilled":false},"Config":{"Image":"i","OpenStdin":false,"Cmd":null},"HostConfig":{"PortBindings":{},"Binds":null},
        "NetworkSettings":{"Ports":{"99/udp":null}}}"#;
    assert_eq!(rendered("{{if .State.Health}}sick{{else}}none{{end}}", raw), "none");
    assert_eq!(
        rendered("{{.HostConfig.Binds}} {{len .Config.Cmd}} {{.HostConfig.Tmpfs}}", raw),
        "[] 0 map[]"
    );
    assert_eq!(
        rendered("{{.State.Health}} {{json .State}} {{json .HostConfig.Binds}}", raw),
        "<nil> {\"OOMKilled\":false} null"
    );
    assert_eq!(
        rendered("{{range $p, $c := .NetworkSettings.Ports}}{{$p}} {{len $c}}{{end}}", raw),
        "99/udp 0"
    );
    assert_eq!(
        rendered("{{.State.Health.Status}}", raw),
        "template parsing error: template: :1:8: executing \"\" at <.State.Health.Status>: map has no entry for key \"Health\""
    );
}

#[test]
fn json_keeps_the_order_of_the_engine() {
    let empty = r#"{"Labels":{},"Options":null}"#;
    assert_eq!(rendered("{{json .Labels}} {{json .Options}} {{index .Labels \"x\"}}.", empty), "{} null .");
    assert_eq!(shown("{{json .State}}"), r#"{"Running":true,"ExitCode":137,"Health":null}"#);
    assert_eq!(shown("x{{ json .Config.Env }}"), r#"x["A=1","B=2"]"#);
}

#[test]
fn blocks_variables_and_definitions() {
    assert_eq!(shown("{{$n := 0}}{{range .Config.Env}}{{$n = .}}{{end}}{{$n}}"), "B=2");
    assert_eq!(shown("{{if false}}a{{else if .Name}}b{{else}}c{{end}}"), "b");
    assert_eq!(shown("{{range $i, $e := .Config.Env}}{{if $i}}{{break}}{{end}}{{$e}}{{end}}"), "A=1");
    assert_eq!(shown("{{range .Config.Env}}{{continue}}x{{else}}none{{end}}."), ".");
    assert_eq!(shown("{{range 3}}{{.}}{{end}}"), "012");
    assert_eq!(shown("{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .Name}}"), "</x>");
    assert_eq!(shown("a {{- .Name -}} b{{/* said */}}"), "a/xb");
    assert_eq!(shown("{{with $x := .Name}}{{$x}}{{$.Name}}{{end}}"), "/x/x");
}

#[test]
fn comparison_and_logic() {
    assert_eq!(
        shown("{{eq .State.ExitCode 0 137}} {{ne .Name \"/x\"}} {{lt 1 2}} {{ge 1.5 2.5}}"),
        "true false true false"
    );
    assert_eq!(
        shown("{{and .Name \"b\"}} {{or \"\" .Name}} {{not .Name}} {{and false .Nothing}}"),
        "b /x false false"
    );
    assert!(shown("{{eq .Name 1}}").ends_with("error calling eq: incompatible types for comparison"));
}

#[test]
fn functions_do_what_they_say() {
    assert_eq!(shown("{{upper \"a\"}}{{lower \"B\"}}{{title \"a-b c\"}}"), "AbA-B C");
    assert_eq!(shown("{{pad \"a\" 1 2}}|{{pad \"\" 1 1}}|"), " a  ||");
    assert_eq!(shown("{{truncate \"abcdef\" 3}}{{slice \"abcdef\" 4}}{{len \"ab\"}}"), "abcef2");
    assert_eq!(shown("{{truncate \"世界\" 3}}"), "世");
    assert_eq!(shown("{{index (split \"a:b\" \":\") 1}}{{println 1 2}}"), "b1 2\n");
    assert_eq!(shown("{{html \"<a>\"}} {{js \"it's\"}} {{urlquery \"a b&\"}}"), "&lt;a&gt; it\\'s a+b%26");
    assert!(shown("{{index .Config.Env 9}}").ends_with("error calling index: index out of range: 9"));
}

#[test]
fn mistakes_are_told_in_the_words_of_go() {
    let told = [
        ("{{.State", "template: :1: unclosed action"),
        ("{{nofunction .}}", "template: :1: function \"nofunction\" not defined"),
        ("{{if .Name}}x", "template: :1: unexpected EOF"),
        ("a\n{{end}}", "template: :2: unexpected {{end}}"),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ("{{\"a}}", "template: :1: unterminated quoted string"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{.Name..Foo}}", "template: :1: unexpected <.> in operand"),
        ("{{..}}", "template: :1: unexpected <.> in operand"),
        (
            "{{truncate .Name -1}}",
            "template parsing error: template: :1:2: executing \"\" at <truncate .Name -1>: error calling truncate: runtime error: slice bounds out of range [:-1]",
        ),
        (
            "{{pad .Name -1 0}}",
            "template parsing error: template: :1:2: executing \"\" at <pad .Name -1 0>: error calling pad: strings: negative Repeat count",
        ),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        (
            "{{.State.Nothing}}",
            "template parsing error: template: :1:8: executing \"\" at <.State.Nothing>: map has no entry for key \"Nothing\"",
        ),
    ];
    for (template, message) in told {
        assert_eq!(shown(template), message, "{template}");
    }
}

#[test]
fn what_types_cannot_answer_the_json_does() {
    let raw = r#"{"Id":"ab","State":{"Status":"created","Health":null},"Config":{"Image":"i","Labels":{"b":"2","a":"1"}}}"#;
    // Go calls the first of these members ID.
    assert_eq!(rendered("{{.ID}} {{.State}}", raw), "ab {created <nil>}");
    assert_eq!(
        rendered("{{.Id}} {{.State}} {{.State.Health}}", raw),
        "ab map[Health:<nil> Status:created] <no value>"
    );
    assert_eq!(
        rendered("{{.Config.Labels.none.deeper}} {{len .State}}", raw),
        "template parsing error: template: :1:9: executing \"\" at <.Config.Labels.none.deeper>: map has no entry for key \"none\""
    );
    assert_eq!(rendered("{{len .State}} {{.Config.Labels.a}}", raw), "2 1");
    assert_eq!(
        rendered("{{range $k, $v := .State}}{{$k}}={{$v}} {{end}}", raw),
        "Health=<no value> Status=created "
    );
    assert_eq!(
        rendered("{{.Id.x}}{{.State.Health.Status}}", raw.replace("\"ab\"", "null").as_str()),
        "template parsing error: template: :1:5: executing \"\" at <.Id.x>: nil pointer evaluating interface {}.x"
    );
    let typed = Prepared::parse("{{.Nope}}").unwrap().render_document(raw, "volume.Volume").unwrap_err();
    assert!(typed.message.ends_with("can't evaluate field Nope in type volume.Volume"), "{}", typed.message);
}

#[test]
fn the_configuration_of_an_image_is_in_the_order_of_its_type() {
    let raw = r#"{"Id":"a","RootFS":{},"Config":{"Cmd":["sh"],"Entrypoint":null,"Env":["A=1"],"Labels":null,"User":""}}"#;
    assert_eq!(rendered("{{json .Config}}", raw), r#"{"Env":["A=1"],"Cmd":["sh"]}"#);
}

#[test]
fn a_label_can_be_asked_for() {
    let labels = BTreeMap::from([("a.b-c".to_owned(), "d".to_owned())]);
    let row = Value::object([("Name".to_owned(), Value::text("n"))], Labels::Of(labels)).called("*list.row");
    let headers = Value::object([("Name".to_owned(), Value::text("NAME"))], Labels::Headers);
    let prepared = Prepared::parse(
        "{{.Label \"a.b-c\"}}{{range (split \"x\" \",\")}}{{$.Label \"a.b-c\"}}{{end}} {{lower .Name}}",
    )
    .unwrap();
    assert_eq!(prepared.render(&row).unwrap(), "dd n");
    assert_eq!(prepared.render_headers(&headers).unwrap(), "b cb c NAME");
    let missing = Prepared::parse("{{.Nope}}").unwrap();
    assert_eq!(
        missing.render(&row).unwrap_err().to_string(),
        "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *list.row"
    );
}

#[test]
fn nothing_makes_it_panic() {
    for template in [
        "{{",
        "}}",
        "{{(}}",
        "{{1.}}",
        "{{'}}",
        "{{.a.}}",
        "{{range}}",
        "{{$}}",
        "{{|}}",
        "é{{é}}",
        "{{/*",
        "{{-",
        "{{.A|}}",
    ] {
        let _ = shown(template);
    }
    let nested = format!("{}1{}", "{{(".to_owned() + &"(".repeat(500), ")".repeat(501) + "}}");
    assert!(shown(&nested).contains("more than"));
}

package lang_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mypatients/gateway/lang"
)

func ExampleTranslate() {
	source := `<p>{{.Name}} sees <strong>{{.N}}</strong> records.</p><a title="Close" href="/x?{{.Q}}">{{or .Label "Back"}}</a>`
	out, err := lang.Translate(source, func(s lang.Source) string { return "«" + s.Text + "»" })
	fmt.Println(out, err)
	// Output: <p>«{{.Name}} sees <strong>{{.N}}</strong> records.»</p><a title="«Close»" href="/x?{{.Q}}">{{or .Label "«Back»"}}</a> <nil>
}

// What is a sentence, and what stays as it is.
func TestTranslate(t *testing.T) {
	for source, want := range map[string]string{
		"":                                         "",
		"<p> Hello  you </p>":                      "<p> [Hello you] </p>",
		"<p>One</p><p>Two</p>":                     "<p>[One]</p><p>[Two]</p>",
		"<a href=x>One</a>\n<a>Two</a>":            "<a href=x>[One]</a>\n<a>[Two]</a>",
		"A<br>B":                                   "[A]<br>[B]",
		"{{if .A}}Yes{{else}}No{{end}}":            "{{if .A}}[Yes]{{else}}[No]{{end}}",
		"{{if .A}}Yes{{else}}No{{end}} sir":        "[{{if .A}}Yes{{else}}No{{end}} sir]",
		`{{define "x"}}{{.}} · {{.}}{{end}}`:       `{{define "x"}}{{.}} · {{.}}{{end}}`,
		"{{range .L}}<li>{{.}}: it</li>{{end}}":    "{{range .L}}<li>[{{.}}: it]</li>{{end}}",
		"<p>{{/* a comment }} */}}&amp;&nbsp;</p>": "<p>{{/* a comment }} */}}&amp;&nbsp;</p>",
		`<input placeholder="{{.P}}" value="text" class="a b">`:    `<input placeholder="{{.P}}" value="text" class="a b">`,
		`<input placeholder="Say {{or .P "it"}}">`:                 `<input placeholder="[Say {{or .P "it"}}]">`,
		`{{if or (eq . "a b") .X}}{{template "a b" .}}{{end}}`:     `{{if or (eq . "a b") .X}}{{template "a b" .}}{{end}}`,
		`<a href="{{"}}>"}}"{{if .C}} class="x"{{end}}>Go</a>`:     `<a href="{{"}}>"}}"{{if .C}} class="x"{{end}}>[Go]</a>`,
		`{{define "c"}}{{if .}} aria-current="page"{{end}}{{end}}`: `{{define "c"}}{{if .}} aria-current="page"{{end}}{{end}}`,
		`{{$x := .A}}Now`: `{{$x := .A}}[Now]`,
	} {
		got, err := lang.Translate(source, func(s lang.Source) string { return "[" + s.Text + "]" })
		if err != nil || got != want {
			t.Errorf("%s:\n got %s %v\nwant %s", source, got, err, want)
		}
	}
	for _, broken := range []string{"<p>", "</p>", "{{if .}}", "{{end}}", "{{", "<p", `<a href="`, "{{if .}}<p>{{end}}</p>", "{{/* "} {
		if got, err := lang.Translate(broken, func(s lang.Source) string { return s.Text }); err == nil {
			t.Errorf("%q is taken: %s", broken, got)
		}
	}
}

// A translation that lost something, or brings something along, is not taken.
func TestCatalogueIsChecked(t *testing.T) {
	for name, c := range map[string]struct{ english, spanish string }{
		"a value is missing":        {"Hello {{.Name}}", "Hola"},
		"another value":             {"Hello {{.Name}}", "Hola {{.Secret}} {{.Name}}"},
		"another value in a choice": {"Hello {{.Name}}", "Hola {{if .Secret}}{{.Name}}{{end}}"},
		"a tag is missing":          {"<em>Hello</em> you", "Hola"},
		"a tag too many":            {"Hello", "<em>Hola</em>"},
		"a script":                  {"Hello", "<script>alert(1)</script>"},
		"another address":           {`<a href="/x">Hello</a>`, `<a href="https://evil.example">Hola</a>`},
		"another attribute":         {`<a href="/x">Hello</a>`, `<a href="/x" onclick="x()">Hola</a>`},
		"a tag that is not closed":  {"<em>Hello</em> you", "<em>Hola"},
		"an action not closed":      {"Hello {{.Name}}", "Hola {{.Name"},
		"the words to fall back on": {`{{or .Name "This person"}} sees`, `{{or .Name "This person"}} ve`},
		"nothing":                   {"Hello", " "},
	} {
		if _, err := lang.Read(c.english + "\n\t" + c.spanish + "\n"); err == nil {
			t.Errorf("%s: %s → %s is taken", name, c.english, c.spanish)
		}
	}
	for _, c := range []struct{ english, spanish string }{
		{"{{.N}} day{{if ne .N 1}}s{{end}}", "{{if eq .N 1}}un día{{else}}{{.N}} días{{end}}"},
		{`Of <a href="/{{.ID}}" title="It">{{.Name}}</a>`, `<a href="/{{.ID}}" title="Ello">{{.Name}}</a>, de`},
		{`{{or .Name "This person"}} sees`, `Ve {{or .Name "esta persona"}}`},
		{"{{.Unit}} old {{.N}}", `{{template "span" .}}`},
	} {
		if _, err := lang.Read(c.english + "\n\t" + c.spanish + "\n"); err != nil {
			t.Error(err)
		}
	}
	for _, broken := range []string{"\tnothing\n", "a\nb\n\tc\n", "a\n\tb\na\n\tc\n", "a\n"} {
		if _, err := lang.Read(broken); err == nil {
			t.Errorf("%q is taken", broken)
		}
	}
	c, err := lang.Read("May\n\tpuede\n\n[month]\n\nMay\n\tmayo\n")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := c.Say(lang.Source{Text: "May"}), c.Say(lang.Source{Template: "month", Text: "May"}); a != "puede" || b != "mayo" {
		t.Errorf("got %s and %s", a, b)
	}
	if got := c.Say(lang.Source{Text: "April"}); got != "April" {
		t.Errorf("what is not there became %q", got)
	}
}

func TestDates(t *testing.T) {
	day := time.Date(2027, 3, 3, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ got, want string }{
		{lang.English.Day(day), "3 March 2027"}, {lang.Spanish.Day(day), "3 de marzo de 2027"},
		{lang.English.Month(day), "March 2027"}, {lang.Spanish.Month(day), "marzo de 2027"},
		{lang.English.ShortMonth(day), "Mar 2027"}, {lang.Spanish.ShortMonth(day), "mar 2027"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	for d := day; d.Year() < 2028; d = d.AddDate(0, 0, 1) {
		for _, l := range lang.All() {
			if got, err := l.ParseDay(l.Day(d), time.UTC); err != nil || !got.Equal(d) {
				t.Errorf("%s: %s is read as %v, %v", l, l.Day(d), got, err)
			}
		}
	}
	for _, bad := range []string{"", "31 de febrero de 2027", "3 de march de 2027", "3 marzo 2027", "x de marzo de 2027"} {
		if got, err := lang.Spanish.ParseDay(bad, time.UTC); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

func TestList(t *testing.T) {
	for things, want := range map[string][2]string{
		"":               {"", ""},
		"a":              {"a", "a"},
		"a b":            {"a and b", "a y b"},
		"a b c":          {"a, b and c", "a, b y c"},
		"madre hija":     {"madre and hija", "madre e hija"},
		"notas informes": {"notas and informes", "notas e informes"},
		"agua hielo":     {"agua and hielo", "agua y hielo"},
		"sal yodo":       {"sal and yodo", "sal y yodo"},
		"a Írene":        {"a and Írene", "a e Írene"},
	} {
		for i, l := range lang.All() {
			if got := l.List(strings.Fields(things)); got != want[i] {
				t.Errorf("%s of %q: got %q, want %q", l, things, got, want[i])
			}
		}
	}
}

func FuzzTranslate(f *testing.F) {
	for _, s := range []string{"<p>Hello {{.Name}}</p>", `{{if .A}}x{{else}}<b>y{{end}}`, `<a title="{{"}}"}}">`, "{{/**/}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		once, err := lang.Translate(source, func(s lang.Source) string { return s.Text })
		if err != nil {
			return
		}
		if twice, err := lang.Translate(once, func(s lang.Source) string { return s.Text }); err != nil || twice != once {
			t.Errorf("%q becomes %q and then %q, %v", source, once, twice, err)
		}
	})
}

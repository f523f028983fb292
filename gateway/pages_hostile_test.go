package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mypatients/consent"
	"mypatients/fhir/engine"
	"mypatients/gateway/demo"
)

// hostile is what somebody may write where people write names, notes and reasons:
// each would run a script, leave its place, or break the layout, if it were taken
// for anything but text. A script that runs sets the global owned.
var hostile = []string{
	`<script>owned=1</script>`,
	`<img src=x onerror=owned=1>`,
	`"><svg onload=owned=1>`,
	`' autofocus onfocus='owned=1`,
	`" onmouseover="owned=1" style="position:fixed;inset:0`,
	`</title></textarea></style></script><script>owned=1</script>`,
	`</option></select><iframe srcdoc="<script>parent.owned=1</script>">`,
	`javascript:owned=1//`,
	`<form action=//evil.example><input name=csrf><button>Sign in</button>`,
	`<base href=//evil.example/><meta http-equiv=refresh content="0;url=//evil.example">`,
	`<a href="javascript:owned=1">x</a><link rel=stylesheet href=//evil.example>`,
	`{{constructor.constructor("owned=1")()}} ${owned=1} <%= 1 %>`,
	`<!--<![CDATA[ ]]>--!> &lt;script&gt;owned=1&lt;/script&gt; &#x3c;script>`,
	"\u202eevil\u202c \u200b\u2066 שלום 👶🏽 \ufeff",
	strings.Repeat("W", 300),
}

// TestHostileWords fills names of patients and doctors, notes, places, apps and
// reasons with hostile words, and meets every page: nothing runs, the console is
// silent, no form or link leads away, and nothing sticks out.
func TestHostileWords(t *testing.T) {
	withoutRaceDetector(t)
	c := startScene(t, strings.Join(hostile[:6], " "), poison)
	var pages, met atomic.Int32 // all, and those with such words
	t.Cleanup(func() {
		if n, all := met.Load(), pages.Load(); n < all/4 {
			t.Errorf("only %d of %d pages have hostile words on them", n, all)
		}
	})
	for _, tour := range tours {
		t.Run(tour.who, func(t *testing.T) {
			t.Parallel()
			v := c.visitor(t, tour.who)
			if tour.who != "" {
				v.enter("/notices")
			}
			for _, state := range tour.states {
				t.Run(state.name, func(t *testing.T) {
					v.t = t
					for _, step := range state.reach {
						step(v)
					}
					v.harmless()
					pages.Add(1)
					if strings.Contains(v.text(), "owned=1") {
						met.Add(1)
					}
				})
			}
			v.t = t
		})
	}
}

// harmless fails when anything but text came from what people wrote.
func (v *visitor) harmless() {
	v.t.Helper()
	for _, width := range []int{desktopWidth, narrowWidth} {
		v.resize(width)
		v.fits(width)
	}
	v.resize(desktopWidth)
	for _, wrong := range evaluate[[]string](v, `(() => {
		const wrong = [];
		if ("owned" in window) wrong.push("a script ran");
		const say = (e) => wrong.push(e.outerHTML.slice(0, 120));
		document.querySelectorAll("iframe, object, embed, base, style, svg:not(.plot svg, .shapes), img:not(.product img), [style]:not(.plot .here, .plot .tip), [http-equiv], [srcdoc]").forEach(say);
		for (const e of document.querySelectorAll("*"))
			for (const a of e.attributes)
				if (a.name.startsWith("on") || /^\s*javascript:/i.test(a.value) && /^(href|src|action|formaction)$/.test(a.name)) say(e);
		for (const e of document.querySelectorAll("script, link, form"))
			if (new URL(e.getAttribute("src") ?? e.getAttribute("href") ?? e.getAttribute("action") ?? "", document.baseURI).origin !== location.origin) say(e);
		return wrong;
	})()`) {
		v.t.Error(wrong)
	}
}

// poison writes hostile words over the demo's records, doctors and apps.
func poison(g *gateway) {
	g.t.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		g.t.Fatal(err)
	}
	resources, err := demo.Resources(time.Now(), zone)
	if err != nil {
		g.t.Fatal(err)
	}
	var lines bytes.Buffer
	turn := 0
	for _, r := range resources {
		var body map[string]any
		if err := json.Unmarshal(r.JSON, &body); err != nil {
			g.t.Fatal(err)
		}
		poisoned(body, &turn)
		if err := json.NewEncoder(&lines).Encode(body); err != nil {
			g.t.Fatal(err)
		}
	}
	loader := g.core.engine.NewLoader(engine.LoadOptions{Refused: func(r engine.Refusal) { g.t.Errorf("refused: %v", r.Err) }})
	if err := loader.LoadNDJSON(g.t.Context(), "hostile", &lines); err != nil {
		g.t.Fatal(err)
	}
	clients, err := demo.Clients(g.URL)
	if err != nil {
		g.t.Fatal(err)
	}
	for i, client := range clients {
		client.Name += " " + hostile[i%len(hostile)]
		if err := g.core.server.PutClient(g.t.Context(), client); err != nil {
			g.t.Fatal(err)
		}
	}
	for i, p := range demo.People() {
		var links []consent.Link
		for _, l := range p.Links {
			links = append(links, consent.Link{Role: l.Role, Person: l.Person})
		}
		if len(links) == 0 {
			continue
		}
		if _, err := g.core.guard.LinkAccount(g.t.Context(), g.URL+demo.IssuerPath, p.Username, p.Name+hostile[i%len(hostile)], p.Email, links...); err != nil {
			g.t.Fatal(err)
		}
	}
}

// poisoned appends hostile words, in turn, to every text that people read.
func poisoned(value any, turn *int) {
	switch v := value.(type) {
	case []any:
		for _, each := range v {
			poisoned(each, turn)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			inner := v[name]
			text, ok := inner.(string)
			switch {
			case !ok && name == "given":
				given := inner.([]any)
				given[0] = given[0].(string) + hostile[0] // without spaces: also where first names stand alone
			case ok && (name == "text" || name == "display" || name == "family" || name == "description" || name == "title" || name == "name" || name == "unit"):
				v[name] = text + " " + next(turn)
			case !ok && name != "meta":
				poisoned(inner, turn)
			}
		}
	}
}

func next(turn *int) string {
	*turn++
	return hostile[*turn%len(hostile)]
}

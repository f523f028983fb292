package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

const clockLayout = "2006-01-02 15:04"

// A deed does something on the stage. An error fails the script, or is what
// it waits for when the command stands after "!".
type deed func(s *stage, ts *testscript.TestScript, args []string) error

// An assertion tells whether something holds, and what was found.
type assertion func(s *stage, args []string) (bool, string, error)

// deeds are what scripts are written in.
//
//	as NAME [PATH]            go on as this person, signed in at a page
//	open PATH                 open a page · follow LINK · press BUTTON [FIELD=VALUE…]
//	authorize CLIENT SCOPE [launch=HANDLE]   begin the launch of an app
//	exchange                  the app takes up the code that it was sent
//	app CLIENT SCOPE [patient=ID] [launch=HANDLE]   all of a launch, approved
//	refresh TOKEN [SCOPE]     the app refreshes; TOKEN becomes the new refresh token's variable
//	backend NAME SCOPE [aud=URL] [jti=ID]    go on as a backend client with a token
//	bearer TOKEN              go on with this token
//	oauth ENDPOINT NAME=VALUE… [login=CLIENT:SECRET]
//	fhir METHOD PATH [FILE] [HEADER:VALUE…]  ask the FHIR server as the app
//	call METHOD PATH [FILE] [HEADER:VALUE…]  the same, anywhere and with plain JSON
//	op PATH NAME=VALUE…       a FHIR operation with these Parameters
//	clock +DURATION | DATE TIME              move the clock, in the site's time zone
//	repeat N COMMAND…         do it several times
//	chores                    do what the gateway does every minute
//	keep FILE · set VAR PATH · catch VAR REGEXP      keep the answer, or part of it
//	change FILE PATH JSON · spoil FILE OLD NEW [TIMES]   change a file: NEW in Go's quoting
//
// and assertions, which "!" turns round:
//
//	status CODE · at PATH · title WORDS · page WORDS… (says all; with !, none)
//	json PATH [VALUE] · header NAME VALUE · away PREFIX
//	mail ADDRESS WORDS… (waits; with !, no mail to anybody says any)
func deeds() map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]func(*testscript.TestScript, bool, []string){}
	for name, do := range map[string]deed{
		"as": doAs, "open": doOpen, "follow": doFollow, "press": doPress,
		"authorize": doAuthorize, "exchange": doExchange, "app": doApp, "refresh": doRefresh, "backend": doBackend, "bearer": doBearer, "oauth": doOAuth,
		"fhir": doFHIR, "call": doCall, "op": doOperation, "clock": doClock, "chores": doChores,
		"keep": doKeep, "set": doSet, "catch": doCatch, "change": doChange, "spoil": doSpoil,
	} {
		all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			s := ts.Value(stageKey{}).(*stage)
			err := do(s, ts, args)
			if (err != nil) != neg {
				ts.Fatalf("%s: %v\n%s", name, otherwise(err, "it went well"), s.actor.scene())
			}
		}
	}
	for name, holds := range map[string]assertion{
		"status": hasStatus, "at": isAt, "title": hasTitle, "json": hasJSON, "header": hasHeader, "away": isAway,
	} {
		all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			s := ts.Value(stageKey{}).(*stage)
			ok, got, err := holds(s, args)
			if err != nil || ok == neg {
				ts.Fatalf("%s %q: got %s %v\n%s", name, args, got, otherwise(err, ""), s.actor.scene())
			}
		}
	}
	all["page"], all["mail"] = pageSays, mailSays
	all["repeat"] = func(ts *testscript.TestScript, neg bool, args []string) {
		times, err := strconv.Atoi(args[0])
		if err != nil || all[args[1]] == nil {
			ts.Fatalf("repeat %q: %v", args, err)
		}
		for range times {
			all[args[1]](ts, neg, args[2:])
		}
	}
	return all
}

func otherwise(err error, text string) any {
	if err == nil {
		return text
	}
	return err
}

// scene describes the last answer, for a failure.
func (a *actor) scene() string {
	return fmt.Sprintf("as %s, %d at %s:\n%.3000s", a.name, a.status, a.at, a.said())
}

// pairs splits NAME=VALUE arguments; those without "=" are given back.
func pairs(args []string) (values url.Values, rest []string) {
	values = url.Values{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			rest = append(rest, arg)
			continue
		}
		values.Add(name, value)
	}
	return values, rest
}

func need(args []string, least, most int) error {
	if len(args) < least || len(args) > most {
		return fmt.Errorf("got %d arguments, want %d to %d", len(args), least, most)
	}
	return nil
}

func doAs(s *stage, _ *testscript.TestScript, args []string) error {
	if err := need(args, 1, 2); err != nil {
		return err
	}
	a := s.cast(args[0])
	if len(args) == 2 {
		return a.enter(args[1])
	}
	return nil
}

func doOpen(s *stage, _ *testscript.TestScript, args []string) error {
	if err := need(args, 1, 1); err != nil {
		return err
	}
	return s.actor.open(args[0])
}

func doFollow(s *stage, _ *testscript.TestScript, args []string) error {
	if err := need(args, 1, 1); err != nil {
		return err
	}
	return s.actor.follow(args[0])
}

func doPress(s *stage, _ *testscript.TestScript, args []string) error {
	if err := need(args, 1, 20); err != nil {
		return err
	}
	fill, rest := pairs(args[1:])
	if len(rest) > 0 {
		return fmt.Errorf("%q is not FIELD=VALUE", rest)
	}
	return s.actor.press(args[0], fill)
}

func doAuthorize(s *stage, _ *testscript.TestScript, args []string) error {
	if err := need(args, 2, 4); err != nil {
		return err
	}
	options, _ := pairs(args[2:])
	return s.actor.authorize(args[0], args[1], options.Get("launch"))
}

func doExchange(s *stage, _ *testscript.TestScript, _ []string) error { return s.actor.exchange() }

func doApp(s *stage, ts *testscript.TestScript, args []string) error {
	if err := doAuthorize(s, ts, args); err != nil {
		return err
	}
	options, _ := pairs(args[2:])
	fill := url.Values{}
	if patient := options.Get("patient"); patient != "" {
		fill.Set("patient", patient)
	}
	if err := s.actor.press("Approve", fill); err != nil {
		return err
	}
	return s.actor.exchange()
}

func doRefresh(s *stage, _ *testscript.TestScript, args []string) error {
	if err := need(args, 1, 2); err != nil {
		return err
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {args[0]}}
	if len(args) == 2 {
		form.Set("scope", args[1])
	}
	return s.actor.token(form)
}

func doBackend(s *stage, _ *testscript.TestScript, args []string) error {
	options, rest := pairs(args)
	if err := need(rest, 2, 2); err != nil {
		return err
	}
	audience, id := scriptBase+"/oauth/token", fmt.Sprintf("jti-%d", time.Now().UnixNano())
	if options.Has("aud") {
		audience = options.Get("aud")
	}
	if options.Has("jti") {
		id = options.Get("jti")
	}
	return s.cast(rest[0]).backend(rest[1], audience, id)
}

func doBearer(s *stage, _ *testscript.TestScript, args []string) error {
	if err := need(args, 1, 1); err != nil {
		return err
	}
	s.actor.bearer = args[0]
	return nil
}

func doOAuth(s *stage, _ *testscript.TestScript, args []string) error {
	form, rest := pairs(args)
	if err := need(rest, 1, 1); err != nil {
		return err
	}
	login := form.Get("login")
	form.Del("login")
	return s.actor.oauth(rest[0], login, form)
}

func doFHIR(s *stage, ts *testscript.TestScript, args []string) error {
	return callWith(s, ts, "/fhir/", "application/fhir+json", args)
}

func doCall(s *stage, ts *testscript.TestScript, args []string) error {
	return callWith(s, ts, "", "application/json", args)
}

func callWith(s *stage, ts *testscript.TestScript, prefix, kind string, args []string) error {
	if err := need(args, 2, 9); err != nil {
		return err
	}
	var body []byte
	headers := map[string]string{}
	for _, arg := range args[2:] {
		if name, value, ok := strings.Cut(arg, ":"); ok {
			headers[name] = strings.TrimSpace(value)
			continue
		}
		body = []byte(strings.TrimSuffix(os.Expand(ts.ReadFile(arg), ts.Getenv), "\n"))
	}
	return s.actor.call(args[0], prefix+args[1], kind, body, headers)
}

// operation posts Parameters. A value that looks like a reference is one, and
// period is START/END.
func doOperation(s *stage, _ *testscript.TestScript, args []string) error {
	if err := need(args, 1, 20); err != nil {
		return err
	}
	type row map[string]any
	rows := []row{}
	for _, arg := range args[1:] {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=VALUE", arg)
		}
		switch start, end, cut := strings.Cut(value, "/"); {
		case name == "period":
			period := row{"end": end}
			if start != "" {
				period["start"] = start
			}
			rows = append(rows, row{"name": name, "valuePeriod": period})
		case cut && start == "Patient":
			rows = append(rows, row{"name": name, "valueReference": row{"reference": value}})
		default:
			rows = append(rows, row{"name": name, "valueString": value})
		}
	}
	var body []byte
	if len(rows) > 0 {
		var err error
		if body, err = json.Marshal(row{"resourceType": "Parameters", "parameter": rows}); err != nil {
			return err
		}
	}
	return s.actor.call("POST", "/fhir/"+args[0], "application/fhir+json", body, nil)
}

func doClock(s *stage, _ *testscript.TestScript, args []string) error {
	if err := need(args, 1, 2); err != nil {
		return err
	}
	if len(args) == 1 {
		d, err := time.ParseDuration(args[0])
		if err == nil {
			s.clock.set(s.clock.Now().Add(d))
		}
		return err
	}
	now, err := time.ParseInLocation(clockLayout, args[0]+" "+args[1], s.zone)
	if err == nil && now.Before(s.clock.Now()) {
		return fmt.Errorf("it is %s already", s.clock.Now().In(s.zone).Format(clockLayout))
	}
	s.clock.set(now)
	return err
}

func doChores(s *stage, _ *testscript.TestScript, _ []string) error {
	for _, c := range s.program.core.chores() {
		if err := c.Do(s.t.Context(), s.clock.Now()); err != nil {
			return err
		}
	}
	return nil
}

func doKeep(s *stage, ts *testscript.TestScript, args []string) error {
	if err := need(args, 1, 1); err != nil {
		return err
	}
	return os.WriteFile(ts.MkAbs(args[0]), s.actor.body, 0o600)
}

func doSet(s *stage, ts *testscript.TestScript, args []string) error {
	if err := need(args, 2, 2); err != nil {
		return err
	}
	found := gjson.GetBytes(s.actor.body, args[1])
	if !found.Exists() {
		return fmt.Errorf("there is no %s\n%s", args[1], s.actor.scene())
	}
	ts.Setenv(args[0], found.String())
	return nil
}

func doCatch(s *stage, ts *testscript.TestScript, args []string) error {
	if err := need(args, 2, 2); err != nil {
		return err
	}
	pattern, err := regexp.Compile(args[1])
	if err != nil {
		return err
	}
	found := pattern.FindStringSubmatch(s.actor.said() + " " + s.actor.at.String())
	if found == nil {
		return fmt.Errorf("nothing like %q\n%s", args[1], s.actor.scene())
	}
	ts.Setenv(args[0], found[len(found)-1])
	return nil
}

func doChange(_ *stage, ts *testscript.TestScript, args []string) error {
	if err := need(args, 2, 3); err != nil {
		return err
	}
	var out string
	var err error
	if len(args) == 2 {
		out, err = sjson.Delete(ts.ReadFile(args[0]), args[1])
	} else {
		out, err = sjson.SetRaw(ts.ReadFile(args[0]), args[1], args[2])
	}
	if err != nil {
		return err
	}
	return os.WriteFile(ts.MkAbs(args[0]), []byte(out), 0o600)
}

func doSpoil(_ *stage, ts *testscript.TestScript, args []string) error {
	if err := need(args, 3, 4); err != nil {
		return err
	}
	with, err := strconv.Unquote(`"` + strings.ReplaceAll(args[2], `"`, `\"`) + `"`)
	if err != nil {
		return err
	}
	if len(args) == 4 {
		times, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		with = strings.Repeat(with, times)
	}
	text := []byte(ts.ReadFile(args[0]))
	if !bytes.Contains(text, []byte(args[1])) {
		return fmt.Errorf("%s does not hold %q", args[0], args[1])
	}
	return os.WriteFile(ts.MkAbs(args[0]), bytes.Replace(text, []byte(args[1]), []byte(with), 1), 0o600)
}

func hasStatus(s *stage, args []string) (bool, string, error) {
	got := strconv.Itoa(s.actor.status)
	return len(args) == 1 && got == args[0], got, need(args, 1, 1)
}

func isAt(s *stage, args []string) (bool, string, error) {
	return len(args) == 1 && s.actor.at.Path == args[0], s.actor.at.String(), need(args, 1, 1)
}

func isAway(s *stage, args []string) (bool, string, error) {
	got := fmt.Sprint(s.actor.away)
	return len(args) == 1 && s.actor.away != nil && strings.Contains(got, args[0]), got, need(args, 1, 1)
}

func hasTitle(s *stage, args []string) (bool, string, error) {
	if s.actor.doc == nil {
		return false, "", fmt.Errorf("this is no page")
	}
	got := titleOf(s.actor.doc)
	return len(args) == 1 && strings.Contains(got, args[0]), got, need(args, 1, 1)
}

func hasHeader(s *stage, args []string) (bool, string, error) {
	if err := need(args, 2, 2); err != nil {
		return false, "", err
	}
	got := s.actor.header.Get(args[0])
	return strings.Contains(got, args[1]), got, nil
}

// hasJSON looks at the last answer: PATH VALUE holds when the value there is
// that, PATH alone when there is one.
func hasJSON(s *stage, args []string) (bool, string, error) {
	if err := need(args, 1, 2); err != nil {
		return false, "", err
	}
	if !gjson.ValidBytes(s.actor.body) {
		return false, "", fmt.Errorf("this is no JSON")
	}
	found := gjson.GetBytes(s.actor.body, args[0])
	if len(args) == 1 {
		return found.Exists(), found.String(), nil
	}
	return found.Exists() && found.String() == args[1], found.String(), nil
}

func pageSays(ts *testscript.TestScript, neg bool, args []string) {
	a := ts.Value(stageKey{}).(*stage).actor
	for _, word := range args {
		if strings.Contains(a.said(), word) == neg {
			ts.Fatalf("page %q: %v\n%s", word, !neg, a.scene())
		}
	}
}

func mailSays(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(stageKey{}).(*stage)
	if neg {
		for _, word := range args {
			if n := s.mailsSaying(word); n > 0 {
				ts.Fatalf("%d mails say %q", n, word)
			}
		}
		return
	}
	if len(args) < 2 || !s.mail(args[0], args[1:]) {
		ts.Fatalf("no new mail to %s says all of %q, but there are %+v", args[0], args[1:], s.program.mailbox.Mails())
	}
}

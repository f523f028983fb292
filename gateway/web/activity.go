package web

import (
	"net/http"
	"slices"
	"time"

	"mypatients/consent"
	"mypatients/smart"
)

// An activityView is who looked at a record, by day.
type activityView struct {
	about
	Days   []lookDay
	People []string
	Who    string // filter
	More   bool   // the list was cut
}

type lookDay struct {
	Day   time.Time
	Looks []lookLine
}

// A lookLine is what one person looked at within one visit of the record: the
// same person, for the same reason, within minutes.
type lookLine struct {
	consent.Look
	Kinds []string // of information
	App   string   // the app it was done with; empty: our own pages
}

// Refused reports that the person was not let in.
func (l lookLine) Refused() bool { return l.Outcome != "" && l.Outcome != "ok" }

// OnContent reports whether what was done is only told together with the kinds of
// information that it was done to.
func (l lookLine) OnContent() bool {
	switch l.Action {
	case "create", "update", "patch", "delete", "export":
		return true
	}
	return changes(l.Action) == ""
}

// maxLooks is how many rows of the log the page reads.
const maxLooks = 500

func (s *site) activityPage(v *visit) error {
	who, err := v.about()
	if err != nil {
		return err
	}
	looks, err := s.Guard.WhoLooked(v.ctx, v.caller(), who.Patient.Patient.ID, maxLooks)
	if err != nil {
		return err
	}
	view := activityView{about: who, Who: v.query("who"), More: len(looks) == maxLooks}
	for _, l := range looks {
		if l.Person != "" && !slices.Contains(view.People, l.Person) {
			view.People = append(view.People, l.Person)
		}
	}
	slices.Sort(view.People)
	if !slices.Contains(view.People, view.Who) { // nobody whom the page offers
		view.Who = ""
	}
	if view.Who != "" {
		looks = slices.DeleteFunc(looks, func(l consent.Look) bool { return l.Person != view.Who })
	}
	view.Days = s.words.lookDays(looks)
	return v.show(http.StatusOK, "activity", view, nil)
}

// together is the time within which looks of one person are one line.
const together = 15 * time.Minute

// lookDays groups looks, the latest first, by day and by person.
func (w words) lookDays(looks []consent.Look) []lookDay {
	slices.SortStableFunc(looks, func(a, b consent.Look) int { return b.When.Compare(a.When) })
	var days []lookDay
	for _, l := range looks {
		at := l.When.In(w.zone)
		day := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, w.zone)
		if len(days) == 0 || !days[len(days)-1].Day.Equal(day) {
			days = append(days, lookDay{Day: day})
		}
		d := &days[len(days)-1]
		i := slices.IndexFunc(d.Looks, func(line lookLine) bool {
			sameMinute := line.When.Truncate(time.Minute).Equal(l.When.Truncate(time.Minute))
			return line.Person == l.Person && line.Client == l.Client && line.Refused() == (lookLine{Look: l}).Refused() &&
				changes(line.Action) == changes(l.Action) && (sameMinute || slices.Equal(line.Why, l.Why) && line.When.Sub(l.When) < together)
		})
		if i < 0 {
			line := lookLine{Look: l, App: l.Client}
			line.Why = slices.Clone(l.Why)
			if portal := consent.Portal(smart.Identity{}, ""); l.Client == portal.ClientName {
				line.App = ""
			}
			d.Looks = append(d.Looks, line)
			i = len(d.Looks) - 1
		}
		for _, why := range l.Why {
			if !slices.Contains(d.Looks[i].Why, why) {
				d.Looks[i].Why = append(d.Looks[i].Why, why)
			}
		}
		for _, kind := range kindsOf(l) {
			if !slices.Contains(d.Looks[i].Kinds, kind) {
				d.Looks[i].Kinds = append(d.Looks[i].Kinds, kind)
			}
		}
	}
	return days
}

// kindsOf names the kinds of information of a look: what it asked for, or, if that
// was no one type, what it got.
func kindsOf(l consent.Look) []string {
	if l.What != "" && l.Action != "$everything" {
		return []string{l.What}
	}
	var kinds []string
	for _, k := range l.Kinds {
		kinds = append(kinds, string(k))
	}
	return kinds
}

// changes tells what was done apart from what was only looked at, for which it
// gives "".
func changes(action string) string {
	switch action {
	case "read", "search", "vread", "history", "history-type", "history-system", "search-system", "$everything", "list-patients", "access", "who-can-see", "search-audit", "export-audit", "list-export":
		return ""
	}
	return action
}

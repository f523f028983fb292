package lang

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// months are the names of the months in Spanish, which has no capitals there.
var months = [12]string{"enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"}

// Day writes a date, in the zone of t: "3 March 2027", "3 de marzo de 2027".
func (l Language) Day(t time.Time) string {
	if l == Spanish {
		return fmt.Sprintf("%d de %s de %d", t.Day(), months[t.Month()-1], t.Year())
	}
	return t.Format("2 January 2006")
}

// Month writes a month: "March 2027", "marzo de 2027".
func (l Language) Month(t time.Time) string {
	if l == Spanish {
		return fmt.Sprintf("%s de %d", months[t.Month()-1], t.Year())
	}
	return t.Format("January 2006")
}

// ShortMonth writes a month where there is little room: "Mar 2027", "mar 2027".
func (l Language) ShortMonth(t time.Time) string {
	if l == Spanish {
		return fmt.Sprintf("%s %d", months[t.Month()-1][:3], t.Year())
	}
	return t.Format("Jan 2006")
}

// Clock writes a time of the day, in the zone of t, as people in the US read it:
// "9:47 pm", "9:47 p. m.". It stays on one line.
func (l Language) Clock(t time.Time) string {
	if l == Spanish {
		return t.Format("3:04\u00a0") + map[bool]string{true: "a.\u00a0m.", false: "p.\u00a0m."}[t.Hour() < 12]
	}
	return t.Format("3:04\u00a0pm")
}

// ParseDay reads what Day writes, whatever the case of its letters.
func (l Language) ParseDay(s string, zone *time.Location) (time.Time, error) {
	if l == Spanish {
		words := strings.Fields(strings.ToLower(s))
		if len(words) == 5 && words[1] == "de" && words[3] == "de" {
			for i, name := range months {
				if words[2] == name {
					return time.ParseInLocation("2 1 2006", fmt.Sprintf("%s %d %s", words[0], i+1, words[4]), zone)
				}
			}
		}
	}
	return time.ParseInLocation("2 January 2006", s, zone)
}

// List joins things as people list them: "a, b and c", "a, b y c". In Spanish
// "y" becomes "e" before the sound of an i.
func (l Language) List(things []string) string {
	if len(things) < 2 {
		return strings.Join(things, "")
	}
	last := things[len(things)-1]
	and := " and "
	if l == Spanish {
		and = " y "
		if soundsLikeI(last) {
			and = " e "
		}
	}
	return strings.Join(things[:len(things)-1], ", ") + and + last
}

// soundsLikeI reports whether a Spanish word begins with the sound of i: not the
// y of "yodo" nor the diphthong of "hielo".
func soundsLikeI(word string) bool {
	word = strings.TrimPrefix(strings.ToLower(word), "h")
	if strings.HasPrefix(word, "í") {
		return true
	}
	return strings.HasPrefix(word, "i") && !strings.HasPrefix(word, "ia") && !strings.HasPrefix(word, "ie") && !strings.HasPrefix(word, "io")
}

// Ordinal writes a place in a row, as it stands before its noun or behind it:
// "2nd" (percentile), (percentil) "2".
func (l Language) Ordinal(n int) string {
	if l == Spanish {
		return strconv.Itoa(n)
	}
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		return strconv.Itoa(n) + "st"
	case n%10 == 2:
		return strconv.Itoa(n) + "nd"
	case n%10 == 3:
		return strconv.Itoa(n) + "rd"
	}
	return strconv.Itoa(n) + "th"
}

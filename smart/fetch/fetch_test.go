package fetch_test

import (
	"testing"
	"time"

	"mypatients/smart/fetch"
)

// Nothing leads inside, by a number or by a name.
func TestWhereNothingLeads(t *testing.T) {
	inside := fetch.New(fetch.Config{Timeout: time.Second})
	for _, url := range []string{"http://127.0.0.1:1/x", "http://localhost:1", "http://10.0.0.1", "http://169.254.169.254/latest/meta-data", "http://[::1]:1", "http://[fd00::1]", "http://[fe80::1]",
		"http://100.64.0.1", "http://0.0.0.0:1", "http://[::ffff:127.0.0.1]:1", "http://[64:ff9b::7f00:1]", "http://2130706433/", "http://224.0.0.1", "http://192.168.1.1", "http://198.18.0.1"} {
		if res, err := inside.Get(url); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s was called", url)
		}
		if fetch.Reach(t.Context(), inside, url) == nil {
			t.Errorf("%s was reached", url)
		}
	}
	for url, want := range map[string]bool{"https://app.example/hook": true, "http://app.example": false, "http://127.0.0.1:8080/hook": false, "ftp://app.example": false,
		"https://user@app.example": false, "https://app.example/#x": false, "https://": false, "https:app.example": false, "": false, "//app.example": false} {
		if got := fetch.MayCall(url, false); got != want {
			t.Errorf("%q: %v", url, got)
		}
	}
	if !fetch.MayCall("http://127.0.0.1:8080/hook", true) || fetch.MayCall("http://app.example/hook", true) {
		t.Error("loopback alone may be http")
	}
}

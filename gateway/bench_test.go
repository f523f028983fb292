//go:build unix

package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"mypatients/config"
	"mypatients/fhir"
	"mypatients/fhir/engine"
	"mypatients/fhir/pgstore/pgtest"
	"mypatients/fhir/search"
)

// BenchmarkAuthorised compares whole authorised requests, over loopback, with a
// bare Gin handler that sends the same bytes. The decision, the audit record and
// the log event are part of what is measured. The two take turns, so that both meet the same machine. The metric ratio is the
// share of the bare handler's requests per second that the gateway reaches.
func BenchmarkAuthorised(b *testing.B) {
	limitMemory(os.LookupEnv) // as main does
	g := startDemoOnStore(b)
	token := g.launch("grace", "launch/patient patient/*.rs", "pt-1")["access_token"].(string)
	for name, path := range map[string]string{
		"read":   "/fhir/Patient/pt-1",
		"search": "/fhir/Observation?patient=pt-1&_count=50",
	} {
		b.Run(name, func(b *testing.B) {
			status, _, body := g.get(path, "Authorization", "Bearer "+token)
			if status != http.StatusOK || name == "search" && strings.Count(body, `"mode":"match"`) != 50 {
				b.Fatalf("got %d %.300s", status, body)
			}
			bare := bareServer(b, body)
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * inFlight}}
			defer client.CloseIdleConnections()
			var plain, whole time.Duration
			b.ResetTimer()
			for left := b.N; left > 0; left -= turn {
				n := min(left, turn)
				b.StopTimer()
				plain += requests(b, client, bare+path, "", n)
				b.StartTimer()
				whole += requests(b, client, g.URL+path, token, n)
			}
			b.ReportMetric(plain.Seconds()/whole.Seconds(), "ratio")
			b.ReportMetric(float64(b.N)/plain.Seconds(), "bare-req/s")
			b.ReportMetric(float64(b.N)/whole.Seconds(), "req/s")
		})
	}
}

// BenchmarkUnauthorised compares whole authorised searches, over loopback, with the
// same searches of the engine: by a handler behind the same middleware that asks
// nobody for a token, decides nothing, filters nothing and records nothing. The two
// take short turns. The metric ratio is how much longer the authorised ones take, in
// the median of the turns; cpu-ratio is how much more processor time, the client's
// share included, and hardly depends on what else the machine does.
func BenchmarkUnauthorised(b *testing.B) {
	limitMemory(os.LookupEnv)
	g := startDemoOnStore(b)
	token := g.launch("grace", "launch/patient patient/*.rs", "pt-1")["access_token"].(string)
	path := "/fhir/Observation?patient=pt-1&_count=50"
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * inFlight}}
	defer client.CloseIdleConnections()
	sides := []string{g.openServer(b), g.URL}
	var times, work [2][]time.Duration
	const turn = 500
	for _, side := range sides {
		requests(b, client, side+path, token, turn)
	}
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn {
		for i, side := range sides {
			used := processorTime(b)
			times[i] = append(times[i], requests(b, client, side+path, token, turn))
			work[i] = append(work[i], processorTime(b)-used)
		}
	}
	b.ReportMetric(median(times[1])/median(times[0]), "ratio")
	b.ReportMetric(median(work[1])/median(work[0]), "cpu-ratio")
	b.ReportMetric(turn*1e9/median(times[0]), "open-req/s")
	b.ReportMetric(turn*1e9/median(times[1]), "req/s")
}

// startDemoOnStore starts a demo on the engine that the environment variable STORE
// names: badger, if it is not set, or postgres.
func startDemoOnStore(b *testing.B) *gateway {
	b.Helper()
	return startDemoIn(b, b.TempDir(), "127.0.0.1:0", nil, func(c *config.Config) {
		if os.Getenv("STORE") == "postgres" {
			c.Storage.Engine, c.Storage.DSN = "postgres", config.Secret(pgtest.Open(b))
		}
	})
}

func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2])
}

// processorTime is how long this process has worked, on all processors.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// openServer answers searches for Observations with all that there is.
func (g *gateway) openServer(b *testing.B) string {
	b.Helper()
	r, err := newRouter(slog.New(slog.NewTextHandler(new(lines), nil)), newMetrics(), false, nil)
	if err != nil {
		b.Fatal(err)
	}
	bodies := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	r.GET("/fhir/Observation", func(c *gin.Context) {
		var page *fhir.Page
		q, err := g.core.engine.Registry().Parse("Observation", c.Request.URL.Query(), search.Options{Base: g.URL + "/fhir", Now: time.Now(), DefaultCount: 50, MaxCount: 1000})
		if err == nil {
			err = g.core.engine.View(c, func(tx *engine.Tx) (err error) {
				page, err = tx.Search(q, engine.Everything)
				return err
			})
		}
		if err != nil {
			_ = c.AbortWithError(http.StatusInternalServerError, err)
			return
		}
		body := bodies.Get().(*bytes.Buffer)
		defer bodies.Put(body)
		body.Reset()
		body.WriteString(`{"resourceType":"Bundle","type":"searchset","entry":[`)
		for i, e := range page.Entries {
			if i > 0 {
				body.WriteByte(',')
			}
			for _, s := range []string{`{"fullUrl":"`, g.URL, `/fhir/`, string(e.Resource.Type), "/", e.Resource.ID, `","resource":`} {
				body.WriteString(s)
			}
			body.Write(e.Resource.JSON)
			body.WriteString(`,"search":{"mode":"match"}}`)
		}
		body.WriteString(`]}`)
		c.Data(http.StatusOK, "application/fhir+json", body.Bytes())
	})
	server := httptest.NewServer(r)
	b.Cleanup(server.Close)
	return server.URL
}

// inFlight is how many requests wait for their answer at a time: answers wait for
// their audit record to be on disk, many for one flush.
const inFlight = 256

// turn is how many requests the one gets before the other.
const turn = 5000

// bareServer answers everything with a body, and nothing else.
func bareServer(b *testing.B, body string) string {
	b.Helper()
	gin.SetMode(gin.ReleaseMode)
	r, bytes := gin.New(), []byte(body)
	r.GET("/fhir/:type", func(c *gin.Context) { c.Data(http.StatusOK, "application/fhir+json", bytes) })
	r.GET("/fhir/:type/:id", func(c *gin.Context) { c.Data(http.StatusOK, "application/fhir+json", bytes) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: r}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

// requests sends n requests over parallel connections and gives how long it took
// until all were answered.
func requests(b *testing.B, client *http.Client, address, token string, n int) time.Duration {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	began := time.Now()
	for range inFlight {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				r, err := http.NewRequest(http.MethodGet, address, nil)
				if err != nil {
					b.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+token)
				res, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				if _, err = io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
					b.Errorf("got %d %v", res.StatusCode, err)
				}
				_ = res.Body.Close()
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

package main

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mypatients/gateway/notify"
)

// metrics counts requests, beside what the Go runtime and the process tell.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gateway_request_seconds",
			Help:    "Time that requests took, by route, method and class of status.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"route", "method", "status"}),
	}
	m.registry.MustRegister(m.requests, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// follow tells of what stands in the data and wants attention.
func (m *metrics) follow(k *core) {
	m.registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gateway_unreadable_consents_total",
			Help: "Consents in force that decisions met and that cannot be evaluated, each once.",
		}, func() float64 { return float64(k.unread.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gateway_labels_pending",
			Help: "1 while records are not all labelled by the rules in force.",
		}, func() float64 {
			if k.engine.Labels().Pending {
				return 1
			}
			return 0
		}),
	)
}

func (m *metrics) observe(route, verb string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, method(verb), strconv.Itoa(status/100)+"xx").Observe(took.Seconds())
}

// watchNotices counts what waits to be mailed and what failed; what cannot be told
// at the moment is left out.
func (m *metrics) watchNotices(w *notify.Worker) { m.registry.MustRegister(noticeCollector{w}) }

type noticeCollector struct{ worker *notify.Worker }

var (
	noticesWaiting  = prometheus.NewDesc("gateway_notices_waiting", "Notices that are still to be mailed.", nil, nil)
	noticesRetrying = prometheus.NewDesc("gateway_notices_retrying", "Of those waiting, the ones that were tried before.", nil, nil)
	noticesFailed   = prometheus.NewDesc("gateway_notices_failed", "Notices that did not reach everybody they are for.", nil, nil)
)

func (c noticeCollector) Describe(to chan<- *prometheus.Desc) {
	to <- noticesWaiting
	to <- noticesRetrying
	to <- noticesFailed
}

func (c noticeCollector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	b, err := c.worker.Backlog(ctx)
	if err != nil {
		return
	}
	to <- prometheus.MustNewConstMetric(noticesWaiting, prometheus.GaugeValue, float64(b.Waiting))
	to <- prometheus.MustNewConstMetric(noticesRetrying, prometheus.GaugeValue, float64(b.Retrying))
	to <- prometheus.MustNewConstMetric(noticesFailed, prometheus.GaugeValue, float64(b.Failed))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

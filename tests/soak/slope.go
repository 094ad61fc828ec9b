package soak

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// Slope is how a figure developed over the second half of a run.
type Slope struct {
	Mean    float64
	PerHour float64
	Growth  float64 // over the half, as a part of the mean
}

// tolerance is how much a figure may grow over half a run, as a part of its mean,
// before it is said to grow; it covers restarts and collections under way. A figure
// below small may do what it likes.
const (
	tolerance = 0.25
	small     = 20
)

// Grows tells whether the figure had a slope.
func (s Slope) Grows() bool { return s.Mean > small && s.Growth > tolerance }

// slope fits a line by least squares.
func (s *Series) slope() Slope {
	half := s.Points[len(s.Points)/2:]
	var n, x, y, xx, xy float64
	for _, p := range half {
		at := p.At.Hours()
		n, x, y, xx, xy = n+1, x+at, y+p.Value, xx+at*at, xy+at*p.Value
	}
	mean := y / n
	spread := n*xx - x*x
	if spread == 0 || mean == 0 {
		return Slope{Mean: mean}
	}
	perHour := (n*xy - x*y) / spread
	length := (half[len(half)-1].At - half[0].At).Hours()
	return Slope{Mean: mean, PerHour: perHour, Growth: perHour * length / mean}
}

// last is the figure at the end.
func (s *Series) last() float64 { return s.Points[len(s.Points)-1].Value }

func (s *Series) most() (most float64) {
	for _, p := range s.Points {
		most = math.Max(most, p.Value)
	}
	return most
}

// at is the figure at a part of the run, from 0 to 1.
func (s *Series) at(part float64) float64 {
	return s.Points[int(part*float64(len(s.Points)-1))].Value
}

// table tells how all figures developed.
func table(all []*Series) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "figure\tbegin\t1/4\t1/2\t3/4\tend\tmost\tslope/h\t2nd half\tverdict\t")
	for _, s := range all {
		slope := s.slope()
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%+.0f\t%+.0f%%\t%s\t\n", strings.TrimSpace(s.Name+" "+s.Unit),
			s.at(0), s.at(0.25), s.at(0.5), s.at(0.75), s.last(), s.most(), slope.PerHour, 100*slope.Growth, s.verdict(slope))
	}
	_ = w.Flush()
	return b.String()
}

func (s *Series) verdict(slope Slope) string {
	switch {
	case s.Lasting:
		return "stays by design"
	case slope.Grows():
		return "GROWS"
	default:
		return "flat"
	}
}

// minutes is for axes.
func (p Point) minutes() float64 { return float64(p.At) / float64(time.Minute) }

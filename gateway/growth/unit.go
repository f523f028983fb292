package growth

// The factors from a UCUM code (https://ucum.org/ucum) to what the charts use.
var (
	lengths = map[string]float64{"cm": 1, "mm": 0.1, "m": 100, "[in_i]": 2.54, "[ft_i]": 30.48}
	weights = map[string]float64{"kg": 1, "g": 0.001, "[lb_av]": 0.45359237, "[oz_av]": 0.028349523125}
	indices = map[string]float64{"kg/m2": 1}
)

// Length gives a length in centimetres, false where the unit is not known to
// be one of length.
func Length(value float64, ucum string) (float64, bool) { return convert(value, ucum, lengths) }

// Mass gives a weight in kilograms.
func Mass(value float64, ucum string) (float64, bool) { return convert(value, ucum, weights) }

// Index gives a body mass index in kg/m².
func Index(value float64, ucum string) (float64, bool) { return convert(value, ucum, indices) }

func convert(value float64, ucum string, factors map[string]float64) (float64, bool) {
	f, ok := factors[ucum]
	return value * f, ok
}

{#-
One end of the 95 % Wilson score interval of a share (E. B. Wilson, "Probable inference, the
law of succession, and statistical inference", JASA 22, 1927); null where nobody was asked.

Arguments:
  side          low or high
  numerator     how many did
  denominator   how many could have
-#}
{% macro wilson(side, numerator, denominator) -%}
    {%- set z = 1.959963984540054 -%}
    {%- set sign = {'low': '-', 'high': '+'}[side] -%}
    {%- set n = 'cast(' ~ denominator ~ ' as double)' -%}
    {%- set p = '(cast(' ~ numerator ~ ' as double) / nullif(' ~ n ~ ', 0))' -%}
    least(1.0, greatest(0.0,
        (
            {{ p }} + {{ z * z / 2 }} / nullif({{ n }}, 0)
            {{ sign }} {{ z }} * sqrt(greatest(0.0,
                {{ p }} * (1 - {{ p }}) / nullif({{ n }}, 0)
                + {{ z * z / 4 }} / nullif({{ n }} * {{ n }}, 0)
            ))
        ) / (1 + {{ z * z }} / nullif({{ n }}, 0))
    ))
{%- endmacro %}

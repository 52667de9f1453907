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
    {%- set p = '(cast(' ~ numerator ~ ' as double) / ' ~ n ~ ')' -%}
    {#- least and greatest pass over nulls, so the case must keep them. -#}
    case when {{ denominator }} > 0 and {{ numerator }} is not null then least(1.0, greatest(0.0,
        (
            {{ p }} + {{ z * z / 2 }} / {{ n }}
            {{ sign }} {{ z }} * sqrt(greatest(0.0,
                {{ p }} * (1 - {{ p }}) / {{ n }} + {{ z * z / 4 }} / ({{ n }} * {{ n }})
            ))
        ) / (1 + {{ z * z }} / {{ n }})
    )) end
{%- endmacro %}

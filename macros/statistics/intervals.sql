{#-
The 97.5 % point of Student's t distribution: exact for 1 and 2 degrees of freedom, else its
expansion around the normal one (M. Abramowitz and I. A. Stegun, Handbook of Mathematical
Functions, 26.7.5), which at 3 is 0.1 % too low and from 5 on right to four places; null for none.

Arguments:
  n   degrees of freedom, 1 or more
-#}
{% macro student_t(n) -%}
    {%- set z = 1.959963984540054 -%}
    {%- set n = 'cast(' ~ n ~ ' as double)' -%}
    case
        when {{ n }} = 1 then 12.706204736174698
        when {{ n }} = 2 then 4.302652729749464
        when {{ n }} > 2
            then {{ z }}
                + {{ (z ** 3 + z) / 4 }} / {{ n }}
                + {{ (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96 }} / ({{ n }} * {{ n }})
                + {{ (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384 }}
                / ({{ n }} * {{ n }} * {{ n }})
                + {{ (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92160 }}
                / ({{ n }} * {{ n }} * {{ n }} * {{ n }})
    end
{%- endmacro %}


{#-
How far the 95 % interval of a mean reaches on either side, by Student's t; null for fewer than
two values.

Arguments:
  n         how many values
  total     their sum
  squares   the sum of their squares
-#}
{% macro mean_margin(n, total, squares) -%}
    {%- set n_ = 'cast(' ~ n ~ ' as double)' -%}
    {%- set total = 'cast(' ~ total ~ ' as double)' -%}
    case when {{ n }} > 1 and {{ squares }} is not null
        then {{ perennial.student_t(n ~ ' - 1') }} * sqrt(
            greatest(0.0, cast({{ squares }} as double) - {{ total }} * {{ total }} / {{ n_ }})
            / ({{ n_ }} - 1) / {{ n_ }}
        )
    end
{%- endmacro %}


{#-
How far the 95 % interval of a ratio of two sums over the same customers, y by x, reaches on
either side: the delta method, which takes the spread of y - ratio * x (W. G. Cochran, Sampling
Techniques, 3rd ed. 1977, chapter 6), by Student's t; null for fewer than two customers and where
x adds up to nothing.

Arguments:
  n        how many customers
  y, x     the sums
  yy, yx, xx   the sums of their squares and of their products
-#}
{% macro ratio_margin(n, y, x, yy, yx, xx) -%}
    {%- set n_ = 'cast(' ~ n ~ ' as double)' -%}
    {%- set ratio = '(cast(' ~ y ~ ' as double) / nullif(cast(' ~ x ~ ' as double), 0))' -%}
    case when {{ n }} > 1 and {{ ratio }} is not null
        then {{ perennial.student_t(n ~ ' - 1') }} * sqrt(
            greatest(
                0.0,
                cast({{ yy }} as double)
                - 2 * {{ ratio }} * cast({{ yx }} as double)
                + {{ ratio }} * {{ ratio }} * cast({{ xx }} as double)
            ) * {{ n_ }} / ({{ n_ }} - 1)
        ) / abs(cast({{ x }} as double))
    end
{%- endmacro %}

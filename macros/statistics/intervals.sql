{#-
The 97.5 % point of Student's t distribution: from the table for up to 4 degrees of freedom, else
its expansion around the normal one (M. Abramowitz and I. A. Stegun, Handbook of Mathematical
Functions, 26.7.5), which at 5 is 0.011 % too low and from 10 on right to six digits; null for none.

Arguments:
  n   degrees of freedom
-#}
{% macro student_t(n) -%}
    {%- set z = 1.959963984540054 -%}
    {%- set n = 'cast(' ~ n ~ ' as double)' -%}
    {%- set table = [12.706204736174694, 4.302652729749462, 3.1824463052837078, 2.7764451051977934] -%}
    case
        {%- for t in table %}
        when {{ n }} = {{ loop.index }} then {{ t }}
        {%- endfor %}
        when {{ n }} > 4
            then {{ z }}
                + {{ (z ** 3 + z) / 4 }} / {{ n }}
                + {{ (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96 }} / power({{ n }}, 2)
                + {{ (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384 }} / power({{ n }}, 3)
                + {{ (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92160 }}
                / power({{ n }}, 4)
    end
{%- endmacro %}


{#-
How far the 95 % interval of a mean of amounts reaches on either side, by Student's t; null for
fewer than two. The difference of the squares is taken of decimals, so that equal amounts have no
spread at all.

Arguments:
  n         how many amounts
  total     their sum
  squares   the sum of their squares
-#}
{% macro mean_margin(n, total, squares) -%}
    {%- set total = 'cast(' ~ total ~ ' as decimal(18, 2))' -%}
    case when {{ n }} > 1
        then {{ perennial.student_t(n ~ ' - 1') }} * sqrt(
            cast(
                cast({{ n }} as decimal(18, 0)) * cast({{ squares }} as decimal(38, 4))
                - {{ total }} * {{ total }}
                as double
            ) / ({{ n }} - cast(1 as double))
        ) / {{ n }}
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

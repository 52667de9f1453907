{#-
The share of a standard normal distribution above z, for z of 0 or more: a one-sided p-value.
Twice that of |z| is the two-sided one. From the complementary error function by Chebyshev
fitting, with a relative error below 1.2e-7 everywhere (W. H. Press et al., Numerical Recipes,
section 6.2, erfcc).

Arguments:
  z   expression: 0 or more
-#}
{% macro normal_tail(z) -%}
    {%- set t = '(1 / (1 + (' ~ z ~ ') / sqrt(2.0) / 2))' -%}
    {%- set coefficients = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806,
        0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277] -%}
    {%- set sum = namespace(text=coefficients[-1]) -%}
    {%- for c in coefficients[:-1] | reverse -%}
        {%- set sum.text = '(' ~ c ~ ' + ' ~ t ~ ' * ' ~ sum.text ~ ')' -%}
    {%- endfor -%}
    {#- The error takes it above a half at 0; least passes over nulls, so the case must keep them. -#}
    case when {{ z }} is not null then
        least(0.5, 0.5 * {{ t }} * exp(-({{ z }}) * ({{ z }}) / 2 + {{ sum.text }}))
    end
{%- endmacro %}


{#-
The variance of the logarithms of a column of whole numbers above 0, with n - 1; null where there
are fewer than two. Over decimals, so that it is the same in whatever order the rows come.

Arguments:
  n   the column
-#}
{% macro log_variance(n) -%}
    {%- set x = perennial.exact('ln(' ~ n ~ ')') -%}
    {%- set square = perennial.exact('ln(' ~ n ~ ') * ln(' ~ n ~ ')') -%}
    case
        when count({{ n }}) > 1
            then greatest(
                0.0,
                cast(sum({{ square }}) as double)
                - cast(sum({{ x }}) as double) * cast(sum({{ x }}) as double) / count({{ n }})
            ) / (count({{ n }}) - 1)
    end
{%- endmacro %}


{#-
A figure from few observations, drawn towards that of a larger group: the group counts as `weight`
observations. Where there is no figure it is the group's, where there is no group its own.

Arguments:
  own      the figure, may be null
  n        on how many observations it rests, may be null
  group    the group's figure, may be null
  weight   how many observations the group counts as
-#}
{% macro shrunk(own, n, group, weight) -%}
    case
        when {{ own }} is null then {{ group }}
        when {{ group }} is null then {{ own }}
        else
            (({{ own }}) * ({{ n }}) + ({{ group }}) * {{ weight }}) / ({{ n }} + {{ weight }})
    end
{%- endmacro %}

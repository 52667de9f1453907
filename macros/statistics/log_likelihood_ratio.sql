{#-
Dunning's log-likelihood ratio of a two-by-two table (T. Dunning, "Accurate methods for the
statistics of surprise and coincidence", Computational Linguistics 19, 1993): how surprising
it is, if the two were independent, to see them together as often as this.

Arguments:
  n_both      baskets with both
  n_a, n_b    baskets with the one, with the other
  n_total     all baskets
-#}
{% macro log_likelihood_ratio(n_both, n_a, n_b, n_total) -%}
    {%- set cells = [
        n_both,
        '(' ~ n_a ~ ' - ' ~ n_both ~ ')',
        '(' ~ n_b ~ ' - ' ~ n_both ~ ')',
        '(' ~ n_total ~ ' - ' ~ n_a ~ ' - ' ~ n_b ~ ' + ' ~ n_both ~ ')',
    ] -%}
    {%- set margins = [n_a, n_b, '(' ~ n_total ~ ' - ' ~ n_a ~ ')', '(' ~ n_total ~ ' - ' ~ n_b ~ ')'] -%}
    -- Twice (cells - margins + total) of x * ln(x), where nothing counts as nothing.
    greatest(0.0, 2.0 * (
        {% for cell in cells -%}
        {{ '+ ' if not loop.first }}{{ perennial.x_ln_x(cell) }}
        {% endfor -%}
        {% for margin in margins -%}
        - {{ perennial.x_ln_x(margin) }}
        {% endfor -%}
        + {{ perennial.x_ln_x(n_total) }}
    ))
{%- endmacro %}


{#- x * ln(x), and 0 at 0. -#}
{% macro x_ln_x(x) -%}
    coalesce(cast({{ x }} as double) * ln(nullif(cast({{ x }} as double), 0)), 0)
{%- endmacro %}

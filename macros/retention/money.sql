{#-
The sum of an amount up to and including the current row of a window, null from the first row on
in which it is null.

Arguments:
  amount   the amount
  over     the name of the window
-#}
{% macro complete_running_sum(amount, over) -%}
    case
        when count({{ amount }}) over {{ over }} = count(*) over {{ over }}
            then sum({{ amount }}) over {{ over }}
    end
{%- endmacro %}

{#-
At which cut something was known first: 1 for the validation, two churn horizons before as_of; 2 for
the test, one; 3 for later.

Arguments:
  known_at   when the warehouse could know it, UTC; never before it happened
-#}
{% macro cut_number(known_at) -%}
    {%- set horizon = perennial.setting('churn_horizon_days') -%}
    case
        {%- for horizons_back in [2, 1] %}
        when
            {{ perennial.local_date(known_at) }}
            <= {{ perennial.add_days('clock.as_of_on', -horizons_back * horizon) }}
            then {{ 3 - horizons_back }}
        {%- endfor %}
        else 3
    end
{%- endmacro %}


{#-
The name of a cut.

Arguments:
  number   1 to 3, as cut_number gives it
-#}
{% macro cut_name(number) -%}
    case {{ number }}
        when 1 then 'validation'
        when 2 then 'test'
        else 'today'
    end
{%- endmacro %}

{#- An amount in the reporting currency, rounded to cents; null where the rate is missing. -#}
{% macro in_reporting_currency(amount, rate) -%}
    cast(
        round(cast({{ amount }} as decimal(18, 2)) * cast({{ rate }} as decimal(20, 12)), 2)
        as decimal(18, 2)
    )
{%- endmacro %}


{#-
The sum of an amount over a group, null when any of its rows is null: what cannot be known
(for want of an exchange rate) must not look like nothing.
-#}
{% macro complete_sum(amount) -%}
    case when count(*) = count({{ amount }}) then sum({{ amount }}) end
{%- endmacro %}


{#- An amount times part / whole, in cents; a half is rounded up, as in decimal arithmetic. -#}
{% macro share(amount, part, whole) -%}
    round(cast({{ amount }} * {{ part }} / nullif(cast({{ whole }} as double), 0) as decimal(18, 6)), 2)
{%- endmacro %}


{#-
Whether an amount may be at a rate of a changed span of `currency_rates`. A day more counts on
each side, because a rate's days are the shop's.

Arguments:
  currency   the amount's currency, or none where any will do
  moment     when the amount was due, UTC
  span       the span as that model's config writes it: first day, day after the last, currency
-#}
{% macro in_span(currency, moment, span) -%}
    {%- if currency %}{{ currency }} = substr({{ span }}, 23) and {% endif -%}
    {{ moment }} >= cast(substr({{ span }}, 1, 10) as timestamp) - interval '1' day
    and {{ moment }} < cast(substr({{ span }}, 12, 10) as timestamp) + interval '1' day
{%- endmacro %}
